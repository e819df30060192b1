"""Series whose places are known are found by lists, and the others by their UIDs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import bulkdl
from bulkdl.model.ids import SeriesUid
from bulkdl.model.selection import Selection
from bulkdl.resolve.resolution import Earlier, Resolution, resolve
from bulkdl.verbs.connections.open_archive import open_archive
from bulkdl.verbs.runs.options import context_of
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, answer
from tests.support.syncing import synced

ONE, OTHER = (list(instances(series=5, per_series=1, collection=name)) for name in ("ONE", "OTHER"))
UIDS = [SeriesUid(one.series_uid) for one in (*ONE, *OTHER)]


async def found(
    archive: BadArchive, folder: Path, asked: Selection, places: Mapping[SeriesUid, tuple[str, str]]
) -> tuple[set[str], Resolution, list[Mapping[str, str]]]:
    """The Series, the resolution, and the queries that were sent."""

    async def places_of(uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, tuple[str, str]]:
        return {uid: places[uid] for uid in uids if uid in places}

    resolution, uids = Resolution(), list[str]()
    async with open_archive(archive.choice(folder), context_of({"settings": QUICK})) as source:
        async for batch in resolve(asked, source.client, resolution, earlier=Earlier(places_of=places_of)):
            uids += [series.series_uid for series in batch.series]
    assert len(uids) == len(set(uids))
    return set(uids), resolution, [seen.query for seen in archive.server.requests]


def places_of(made_up: Sequence[MadeUp]) -> dict[SeriesUid, tuple[str, str]]:
    return {SeriesUid(one.series_uid): (one.collection, one.patient_id) for one in made_up}


async def test_a_list_for_each_collection_and_single_questions_for_the_rest(tmp_path: Path) -> None:
    known = places_of(ONE) | {UIDS[5]: ("OTHER", "x"), UIDS[6]: ("GONE", "x"), UIDS[7]: ("GONE", "x")}
    async with BadArchive([*ONE, *OTHER]) as archive:
        uids, resolution, queries = await found(archive, tmp_path, Selection(series=(*UIDS, SeriesUid("1.2"))), known)
    assert uids == set(UIDS)
    assert [question.series_uid for question in resolution.not_found] == ["1.2"]
    assert {query["Collection"] for query in queries if "Collection" in query} == {"ONE", "GONE"}
    assert len(queries) == 2 + 6 + 1  # a UID that is not that of a Series may be that of a Study


async def test_the_series_of_one_patient_are_listed_as_such(tmp_path: Path) -> None:
    asked = Selection(series=tuple(UIDS[:2]))
    async with BadArchive(ONE) as archive:
        uids, _, (query,) = await found(archive, tmp_path, asked, places_of(ONE))
    assert uids == set(UIDS[:2])
    assert (query["Collection"], query["PatientID"]) == ("ONE", ONE[0].patient_id)


async def test_other_criteria_hold_for_the_lists_too(tmp_path: Path) -> None:
    asked = Selection(series=tuple(UIDS[:4]), patients=(ONE[0].patient_id,))
    async with BadArchive(ONE) as archive:
        uids, resolution, queries = await found(archive, tmp_path, asked, places_of(ONE))
    assert (uids, resolution.not_found, len(queries)) == (set(UIDS[:2]), [], 1)


async def test_a_list_that_fails_says_nothing_about_its_series(tmp_path: Path) -> None:
    def fault(seen: Seen) -> Action | None:
        return answer(b"", status=500) if seen.query.get("Collection") == "ONE" else None

    async with BadArchive([*ONE, *OTHER], fault) as archive:
        uids, resolution, _ = await found(archive, tmp_path, Selection(series=tuple(UIDS)), places_of([*ONE, *OTHER]))
    assert uids == set(UIDS[5:])
    assert [question.criteria["collection"] for question, _ in resolution.failed] == ["ONE"]


async def test_a_manifest_is_synchronised_with_one_request_for_each_collection(tmp_path: Path) -> None:
    mirror, asked = tmp_path / "m", Selection(series=tuple(UIDS))
    async with BadArchive([*ONE, *OTHER]) as archive:
        choice = archive.choice(tmp_path)
        await bulkdl.mirror_async(asked, to=mirror, archive=choice, settings=QUICK)
        before = len(archive.server.requests)
        report = await synced(archive, mirror, [*ONE, *OTHER])
        assert [endpoint_of(seen) for seen in archive.server.requests[before:]] == ["getSeries", "getSeries"]
        assert (report.outcome, report.requests) == ("complete", 2)
        gone = await synced(archive, mirror, [*ONE, *OTHER[1:]])
    assert gone.changes is not None
    assert gone.changes.withdrawn_series == 1
