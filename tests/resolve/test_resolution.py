"""Series and entries of a selection, whatever archive answers: what is counted, listed again and named as missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bulkdl.archive import socket_transport
from bulkdl.archive.base import Archive, Capabilities, FoundSeries, Listing, SeriesQuestion
from bulkdl.archive.nbia.questions import plan_questions
from bulkdl.errors import NotFound, SelectionError, ServerFailed
from bulkdl.journal.journal import Journal
from bulkdl.journal.thread import open_journal_thread
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Entry, Series, SeriesSize
from bulkdl.model.selection import Selection
from bulkdl.resolve.listing import ListSteps, list_instances
from bulkdl.resolve.resolution import Resolution, explain_nothing, resolve
from bulkdl.runtime.tasks import Stage, Tasks
from tests.support.archives import TRANSPORT, opened
from tests.support.far_clock import FarClock
from tests.support.faults import FaultyServer, json, stall
from tests.support.journals import NOW, begin
from tests.support.memory_archive import MemoryArchive
from tests.support.waiting import until

ONE, TWO = Series(series_uid=SeriesUid("1.1")), Series(series_uid=SeriesUid("1.2"))
NAMED = SeriesQuestion({"series_uid": "1.3"}, series_uid=SeriesUid("1.3"))
COLLECTION = SeriesQuestion({"collection": "TCGA-GMB"})


class Found:
    """An archive that finds what it is given."""

    capabilities = Capabilities(takes_login=True)

    def __init__(self, *batches: FoundSeries) -> None:
        self._batches = batches

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        if selection.studies:
            yield FoundSeries(not_found=tuple(SeriesQuestion({"study_uid": uid}) for uid in selection.studies))
            return
        for batch in self._batches:
            yield batch

    async def collections(self) -> tuple[str, ...]:
        return ("TCGA-GBM", "TCGA-LUAD")


def archive(*batches: FoundSeries) -> Archive:
    return cast("Archive", Found(*batches))


async def test_batches_come_as_the_archive_sends_them() -> None:
    resolution = Resolution()
    found = archive(FoundSeries((ONE,)), FoundSeries(not_found=(NAMED,)), FoundSeries((TWO,)))
    assert [batch async for batch in resolve(Selection(everything=True), found, resolution)] == [
        FoundSeries((ONE,)),
        FoundSeries((TWO,)),
    ]
    assert (resolution.series, resolution.not_found) == (2, [NAMED])


async def test_a_shard_is_the_same_part_whatever_the_archive_sends() -> None:
    series = [Series(series_uid=SeriesUid(f"1.{number}")) for number in range(40)]
    parts: list[Series] = []
    for shard in ("1/2", "2/2"):
        resolution, selection = Resolution(), Selection(everything=True, shard=shard)
        batches = [batch async for batch in resolve(selection, archive(FoundSeries(tuple(series))), resolution)]
        found = [one for batch in batches for one in batch.series]
        parts += found
        assert resolution.series == len(found) < len(series)
    assert sorted(one.series_uid for one in parts) == sorted(one.series_uid for one in series)


async def test_a_selection_of_nothing_asks_nothing() -> None:
    with pytest.raises(SelectionError):
        await anext(resolve(Selection(), archive(), Resolution()))


def test_each_question_without_series_is_one_failure() -> None:
    error = ServerFailed("the archive answered 500", status=500)
    error.attempts = 3
    resolution = Resolution(not_found=[NAMED, COLLECTION], failed=[(COLLECTION, error)])
    found = [(failure.series, failure.error, failure.attempts) for failure in resolution.failures()]
    assert found == [("1.3", NotFound.code, 1), ("", NotFound.code, 1), ("", ServerFailed.code, 3)]


async def test_a_misspelt_collection_is_explained_with_a_suggestion() -> None:
    text = await explain_nothing(Selection(collections=("TCGA-GMB",)), [COLLECTION], archive())
    assert text == "the archive has no series for collection TCGA-GMB; did you mean TCGA-GBM?"


async def test_criteria_that_exclude_each_other_are_explained_by_what_there_is() -> None:
    found = FoundSeries((replace(ONE, modality="MR", body_part="HEAD"), replace(TWO, modality="CT", body_part="CHEST")))
    selection = Selection(collections=("TCGA-GBM",), modalities=("XX",), body_parts=("head",))
    text = await explain_nothing(selection, [], archive(found))
    assert text == (
        "the archive has no series for the criteria together: "
        "the 2 series of collection TCGA-GBM have modality CT, MR and body part CHEST, HEAD"
    )


async def test_series_that_are_named_and_other_criteria_that_exclude_them_are_explained() -> None:
    found = FoundSeries((replace(ONE, collection="A", modality="MR"), replace(TWO, collection="A", modality="SEG")))
    of_manifest = Selection(series=(ONE.series_uid, TWO.series_uid), collections=("TCGA-GBM",), modalities=("CT",))
    text = await explain_nothing(of_manifest, [], archive(found))
    assert text == (
        "the archive has no series for the criteria together: "
        "the 2 series that are named have collection A and modality MR, SEG"
    )


async def test_a_collection_that_is_not_shown_may_need_a_login() -> None:
    known = await archive().collections()
    text = await explain_nothing(Selection(collections=known[:1]), [COLLECTION], archive())
    assert text.endswith("; if it is restricted, it needs a login: --username")


async def test_no_more_than_three_questions_are_named() -> None:
    questions = [SeriesQuestion({"patient_id": str(number)}) for number in range(5)]
    text = await explain_nothing(Selection(patients=("0",)), questions, archive())
    assert text == "the archive has no series for patient id 0; patient id 1; patient id 2; and 2 more"


# --- lists that differ from the index ---------------------------------------------------------------------------------

ENTRIES = tuple(Entry(f"b/s/{number}.dcm", size_bytes=10) for number in range(3))


async def nothing(_uid: SeriesUid, _keys: frozenset[str] | None) -> None:
    """Nothing is to be done with a listed Series."""


@pytest.mark.parametrize(
    ("count", "size_bytes", "entries", "invalid_rows", "error", "message"),
    [
        (3, 30, ENTRIES, 0, None, None),
        (4, 40, ENTRIES, 0, "short-at-source", "lists 3 instances and counts 4; they have 30 bytes, the index says 40"),
        (3, 30, (), 0, "short-at-source", "lists no instances and counts 3; they have 0 bytes, the index says 30"),
        (2, 30, ENTRIES, 0, "differs-at-source", "lists 3 instances and counts 2"),
        (3, 31, ENTRIES, 0, "differs-at-source", "lists 3 instances; they have 30 bytes, the index says 31"),
        (3, 30, ENTRIES, 2, "differs-at-source", "lists 3 instances; 2 listed keys are not those of instances"),
        (None, 31, ENTRIES, 0, None, None),
        (None, None, (), 0, "short-at-source", "lists no instances and counts 0"),
    ],
)
async def test_a_list_that_differs_from_an_exact_index_is_a_finding(
    tmp_path: Path,
    count: int | None,
    size_bytes: int | None,
    entries: tuple[Entry, ...],
    invalid_rows: int,
    error: str | None,
    message: str | None,
) -> None:
    archive = MemoryArchive({})
    archive.capabilities = Capabilities(lists_sop_uids=False)
    archive.entries, archive.invalid_rows = list(entries), invalid_rows
    series = replace(ONE, image_count=count, size_bytes=size_bytes, location="b/s")
    async with open_journal_thread(tmp_path / "journal.sqlite") as journal:
        run = await journal(begin)
        await journal(Journal.record_series, run, [(series, "folder")], now=NOW)
        resolved = Stage()
        resolved.end()
        await list_instances(journal, run, archive, upstream=resolved, downstream=Stage(), steps=ListSteps(nothing))
        failures = await journal(Journal.failures, run, limit=5)
        counts = await journal(Journal.counts, run)
    assert [(each.error, each.message) for each in failures] == ([(error, f"the archive {message}")] if error else [])
    assert (counts.owed, counts.series_failed) == (len(entries), 0 if entries or error is None else 1)


class Awaited(MemoryArchive):
    """An archive whose lists are awaited until they are released."""

    def __init__(self) -> None:
        super().__init__({})
        self.released = asyncio.Event()
        self.lists = self.at_once = self.most_at_once = 0

    async def list(self, series: Series) -> Listing:
        self.lists += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.released.wait()
        self.at_once -= 1
        return await super().list(series)


@pytest.mark.parametrize(
    ("counts", "at_once"), [((4_000, 4_000), 2), ((5_000, 5_000), 1), ((90_000, 1), 1), ((None, 100), 2)]
)
async def test_few_lists_of_many_instances_are_awaited_at_once(
    tmp_path: Path, counts: tuple[int | None, ...], at_once: int
) -> None:
    """Each takes memory until it is recorded."""
    archive = Awaited()
    async with open_journal_thread(tmp_path / "journal.sqlite") as journal:
        run = await journal(begin)
        series = [
            (replace(ONE, series_uid=SeriesUid(f"1.{n}"), image_count=count), f"{n}") for n, count in enumerate(counts)
        ]
        await journal(Journal.record_series, run, series, now=NOW)
        resolved = Stage()
        resolved.end()
        steps = ListSteps(nothing)
        async with Tasks() as tasks:
            tasks.join(list_instances(journal, run, archive, upstream=resolved, downstream=Stage(), steps=steps))
            await until(lambda: archive.lists >= at_once)
            await journal(Journal.counts, run)  # meanwhile others could be requested
            archive.released.set()
    assert archive.lists >= len(counts)
    assert archive.most_at_once == at_once


@pytest.mark.parametrize(("counts", "connections"), [((100, 3, None), 11), ((100,) * 6, 16)], ids=["few", "many"])
async def test_connections_for_instances_are_opened_while_a_long_line_brings_the_lists(
    tmp_path: Path, counts: tuple[int | None, ...], connections: int
) -> None:
    """No more than the limit of requests can soon reach, and 8 for each Series, which may come as one bundle."""
    released = asyncio.Event()
    before = TRANSPORT.set(lambda access: socket_transport.open_transport(access, clock=FarClock()))
    async with (
        FaultyServer(lambda seen: json("[]") if seen.path.endswith("Values") else stall(released, b"[]")) as server,
        opened(server.url) as archive,
        open_journal_thread(tmp_path / "journal.sqlite") as journal,
    ):
        TRANSPORT.reset(before)
        await archive.collections()
        run = await journal(begin)
        series = [
            (Series(series_uid=SeriesUid(f"1.{number}"), image_count=count), f"{number}")
            for number, count in enumerate(counts)
        ]
        await journal(Journal.record_series, run, series, now=NOW)
        resolved = Stage()
        resolved.end()
        steps = ListSteps(nothing)
        async with Tasks() as tasks:
            tasks.join(list_instances(journal, run, archive, upstream=resolved, downstream=Stage(), steps=steps))
            await until(lambda: server.connections >= connections and archive.retrier.permits.in_use >= len(counts))
            released.set()
        assert server.connections == connections


# --- Studies, unions, and what a manifest states ----------------------------------------------------------------------


class Lists:
    """An archive of these Series, which answers for Series, Studies, Patients and Collections."""

    def __init__(self, *series: Series) -> None:
        self.asked: list[Selection] = []
        self._series = series

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        self.asked.append(selection)
        questions = plan_questions(selection)
        for question in questions:
            found = tuple(
                series
                for series in self._series
                if all(getattr(series, name) == value for name, value in question.criteria.items())
            )
            matching = tuple(series for series in found if selection.matches(series))
            yield FoundSeries(matching) if found else FoundSeries(not_found=(question,))


def made(number: str, **values: Any) -> Series:
    return Series(series_uid=SeriesUid(number), study_uid=StudyUid(f"{number[0]}.0"), **values)


async def resolved(selection: Selection, archive: Lists) -> tuple[list[str], Resolution]:
    resolution = Resolution()
    found = resolve(selection, cast("Archive", archive), resolution)
    return [series.series_uid async for batch in found for series in batch.series], resolution


async def test_studies_among_series_are_recognised_and_said() -> None:
    lists = Lists(made("1.1"), made("2.1"), made("2.2"))
    uids, resolution = await resolved(Selection(series=tuple(map(SeriesUid, ("1.1", "2.0", "9.9")))), lists)
    assert uids == ["1.1", "2.1", "2.2"]
    assert resolution.notes() == ("2.0 is not a series but a Study Instance UID; all series of the study are selected",)
    assert [question.series_uid for question in resolution.not_found] == ["9.9"]


async def test_a_list_of_unknown_series_costs_few_questions_for_studies() -> None:
    lists = Lists(made("1.1"))
    uids = tuple(SeriesUid(f"9.{number}") for number in range(1000))
    _, resolution = await resolved(Selection(series=uids), lists)
    assert len(resolution.not_found) == 1000
    assert sum(len(selection.studies) for selection in lists.asked) == 50


async def test_alternatives_are_a_union_and_criteria_narrow_it() -> None:
    series = (
        made("1.1", collection="A", patient_id="P", modality="CT"),
        made("1.2", collection="B", patient_id="P", modality="CT"),
        made("2.1", collection="B", patient_id="Q", modality="MR"),
        made("3.1", collection="C", patient_id="R", modality="CT"),
        made("4.1", collection="D", patient_id="S", modality="CT"),
    )
    alternatives = (
        Selection(series=(SeriesUid("3.1"),)),
        Selection(studies=(StudyUid("2.0"),)),
        Selection(collections=("A",), patients=("P",)),
    )
    uids, _ = await resolved(Selection(alternatives=alternatives), Lists(*series))
    assert uids == ["3.1", "2.1", "1.1"]
    uids, _ = await resolved(Selection(alternatives=alternatives, modalities=("CT",)), Lists(*series))
    assert uids == ["3.1", "1.1"]
    uids, _ = await resolved(Selection(alternatives=alternatives, collections=("B", "C")), Lists(*series))
    assert uids == ["3.1", "2.1"]


async def test_a_difference_from_the_manifest_is_noted() -> None:
    lists = Lists(made("1.1", image_count=3, size_bytes=10), made("1.2", image_count=4), made("1.3", image_count=5))
    expected = {
        SeriesUid("1.1"): SeriesSize(10, 3),
        SeriesUid("1.2"): SeriesSize(999, 1200),
        SeriesUid("1.3"): SeriesSize(None, 5),
    }
    _, resolution = await resolved(Selection(series=tuple(expected), expected=expected), lists)
    assert resolution.notes() == ("series 1.2 differs from the manifest: 1,200 instances there, 4 at the archive",)
