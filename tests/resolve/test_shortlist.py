"""Samples, limits and orders: which Series are chosen of those that match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest

from bulkdl.archive.base import FoundSeries
from bulkdl.errors import SelectionError
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series, SeriesSize
from bulkdl.model.selection import Selection, SeriesOrder, SeriesSample
from bulkdl.resolve.shortlist import Shortlist
from tests.support.memory_archive import MemoryArchive


def series(number: int, patient: str = "P1", *, size_bytes: int | None = 1000, collection: str = "A") -> Series:
    uid = SeriesUid(f"1.2.{number:03}")
    return Series(
        series_uid=uid, collection=collection, patient_id=patient, size_bytes=size_bytes, description=f"no {number}"
    )


PATIENTS = [series(number, f"P{number % 3}", size_bytes=1000 - number) for number in range(30)]


class SizedArchive(MemoryArchive):
    """It gives sizes by `size` alone."""

    sizes: dict[str, int] = {}  # noqa: RUF012 - set by a test

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        self.asked["size"] += 1
        return SeriesSize(self.sizes.get(series_uid), None)


async def choose(
    selection: Selection, found: list[Series], *, kept: Collection[SeriesUid] = (), archive: MemoryArchive | None = None
) -> tuple[list[Series], list[str]]:
    with Shortlist(selection, archive or SizedArchive({}), kept) as shortlist:
        for start in range(0, len(found), 7):
            await shortlist.add(FoundSeries(tuple(found[start : start + 7])))
        await shortlist.add(FoundSeries(tuple(found[:2])))  # an archive may send some twice
        return [each async for batch in shortlist.chosen() for each in batch.series], shortlist.notes


def numbers(chosen: list[Series]) -> list[int]:
    return [int(each.series_uid.rpartition(".")[2]) for each in chosen]


async def test_a_sample_of_each_patient_is_the_same_in_any_order_and_differs_by_its_seed() -> None:
    selection = Selection(collections=("A",), sample=SeriesSample(4, per_patient=True), seed=3)
    chosen, notes = await choose(selection, PATIENTS)
    assert (await choose(selection, PATIENTS[::-1]))[0] == chosen
    assert Counter(each.patient_id for each in chosen) == {"P0": 4, "P1": 4, "P2": 4}
    assert notes == ["a sample: 12 of 30 series, at most 4 of each patient, with the seed 3"]
    other, _ = await choose(Selection(collections=("A",), sample=SeriesSample(4, per_patient=True), seed=4), PATIENTS)
    assert other != chosen


async def test_a_sample_of_each_collection_has_all_of_a_small_one() -> None:
    found = [*PATIENTS, series(100, collection="B"), series(101, collection="B")]
    chosen, _ = await choose(Selection(collections=("A", "B"), sample=SeriesSample(5)), found)
    assert Counter(each.collection for each in chosen) == {"A": 5, "B": 2}


async def test_what_was_chosen_before_stays_when_the_archive_grows() -> None:
    selection = Selection(collections=("A",), sample=SeriesSample(3))
    before, _ = await choose(selection, PATIENTS[:10])
    kept = {each.series_uid for each in before}
    assert (await choose(selection, PATIENTS, kept=kept))[0] == before
    assert (await choose(selection, PATIENTS))[0] != before
    limited = Selection(collections=("A",), limit_bytes=3_500)
    first = [series(5), series(6), series(7)]
    kept = {each.series_uid for each in first}
    assert numbers((await choose(limited, [series(1), *first], kept=kept))[0]) == [5, 6, 7]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, [1, 4, 2, 5, 3]),
        (SeriesOrder.COLLECTION, [1, 4, 2, 5, 3]),
        (SeriesOrder.BREADTH, [1, 2, 3, 4, 5]),
        (SeriesOrder.SMALLEST_FIRST, [5, 4, 3, 2, 1]),
    ],
)
async def test_the_order_decides_what_comes_first(order: SeriesOrder | None, expected: list[int]) -> None:
    found = [series(n, p, size_bytes=6 - n) for n, p in ((3, "C"), (5, "B"), (4, "A"), (2, "B"), (1, "A"))]
    chosen, _ = await choose(Selection(everything=True, order=order, limit_bytes=100), found)
    assert numbers(chosen) == expected


async def test_a_limit_ends_before_the_first_series_that_exceeds_it() -> None:
    found = [series(1, size_bytes=40), series(2, size_bytes=50), series(3, size_bytes=20), series(4, size_bytes=10)]
    chosen, notes = await choose(Selection(everything=True, limit_bytes=100), found)
    assert numbers(chosen) == [1, 2]
    assert notes == ["2 of 4 series fit into 100 B"]
    with pytest.raises(SelectionError, match=r"the first series, 1\.2\.001, has 40 B"):
        await choose(Selection(everything=True, limit_bytes=39), found)


async def test_sizes_that_the_series_lack_are_asked_for_as_far_as_they_matter() -> None:
    found = [series(number, size_bytes=None) for number in range(1, 7)]
    archive = SizedArchive({})
    archive.sizes = {found[0].series_uid: 40, found[1].series_uid: 50, found[2].series_uid: 60}
    chosen, _ = await choose(Selection(everything=True, limit_bytes=100), found, archive=archive)
    assert (numbers(chosen), archive.asked["size"]) == ([1, 2], 3)
    with pytest.raises(SelectionError, match=r"the first series, 1\.2\.001, has 40 B"):
        await choose(Selection(everything=True, limit_bytes=39), found, archive=archive)
    archive.sizes = {}
    with pytest.raises(SelectionError, match=r"1\.2\.001, may have \d+\.\d kB: its size is not known"):
        await choose(Selection(everything=True, limit_bytes=39), found, archive=archive)
    chosen, notes = await choose(Selection(everything=True, limit_bytes=1_100_000), found, archive=archive)
    assert numbers(chosen) == [1, 2]
    assert "sizes of 3 of them, which are estimates" in notes[0]
