from __future__ import annotations

import asyncio

from bulkdl.fetch.work_in_hand import WorkInHand
from bulkdl.model.outcomes import SeriesWork
from tests.support.journals import folder, listed, outcome, series_uid, sop_uid


def work(series: int, instances: int, *, place: str | None = None) -> SeriesWork:
    entries = tuple(listed(sop_uid(series, number)) for number in range(instances))
    return SeriesWork(
        series_uid=series_uid(series),
        study_uid=None,
        folder=folder(series) if place is None else place,
        entries=entries,
        names=(None,) * instances,
        whole=True,
    )


def in_hand(*works: SeriesWork) -> WorkInHand:
    made = WorkInHand(asyncio.Event())
    for each in works:
        made.give_out(each)
    return made


def test_a_series_is_in_hand_until_all_its_instances_have_outcomes_or_come_back() -> None:
    made = in_hand(work(1, 3), work(2, 1), work(1, 2))
    assert len(made) == 6
    assert made.series() == frozenset({series_uid(1), series_uid(2)})
    made.end([outcome(1, 0), outcome(2, 0)])
    assert len(made) == 4
    assert made.series() == frozenset({series_uid(1)})
    made.give_back(series_uid(1), 3)
    assert series_uid(1) in made
    made.end([outcome(1, 1)])
    assert (len(made), made.series()) == (0, frozenset())


def test_names_the_first_top_folders_of_what_is_in_hand() -> None:
    made = in_hand(*(work(number, 1, place=place) for number, place in enumerate(["A/1", "A/2", "", "B", "C/1", "D"])))
    assert made.folders() == ("A", "B", "C")
    made.end([outcome(0, 0), outcome(1, 0)])
    assert made.folders() == ("B", "C", "D")


def test_what_has_no_outcome_of_followed_work_is_its_rest() -> None:
    whole = work(1, 4)
    made = in_hand(whole)
    made.follow(whole)
    made.end([outcome(1, 0), outcome(1, 2)])
    made.give_back(series_uid(1), 2)
    rest = made.rest_of(whole)
    assert [entry.key for entry in rest.entries] == [sop_uid(1, 1), sop_uid(1, 3)]
    assert (rest.names, rest.whole) == ((None, None), False)
    made.end([outcome(1, 1), outcome(1, 3)])
    assert made.rest_of(whole).entries == ()


async def test_waits_until_nothing_is_in_hand() -> None:
    made = in_hand(work(1, 1), work(2, 1))
    waiting = asyncio.ensure_future(made.until_all_ended())
    await asyncio.sleep(0)
    made.end([outcome(1, 0)])
    await asyncio.sleep(0)
    assert not waiting.done()
    made.give_back(series_uid(2), 1)
    await waiting


async def test_waits_no_longer_than_the_run_lasts() -> None:
    stop = asyncio.Event()
    made = WorkInHand(stop)
    made.give_out(work(1, 1))
    waiting = asyncio.ensure_future(made.until_all_ended())
    await asyncio.sleep(0)
    stop.set()
    await waiting
