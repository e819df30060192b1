"""UIDs and texts with their DICOM padding are read; a row that cannot be read is a named failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hostile import JSON, HostileArchive, asks_for, endpoint_of, given
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer, without_body
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=2, per_series=3))
SERIES = MADE_UP[0].series_uid
SOPS = [one.sop_uid for one in MADE_UP if one.series_uid == SERIES]
PADDED: dict[str, Callable[[str], str]] = {
    "a trailing blank": lambda uid: uid + " ",
    "a trailing NUL": lambda uid: uid + "\0",
    "several NULs": lambda uid: uid + "\0\0\0",
    "a tab": lambda uid: uid + "\t",
    "a leading blank": lambda uid: " " + uid,
    "a line end": lambda uid: uid + "\r\n",
    "a blank on both sides": lambda uid: f" {uid} ",
}
UNREADABLE: dict[str, Any] = {
    "null": None,
    "nothing": "",
    "a number": 17,
    "a path": "../../x",
    "words": "not available",
    "a list": ["1.2.3"],
    "an object": {"uid": "1.2.3"},
    "65 digits": "1." + "2" * 63,
    "a blank inside": "1.2 .3",
    "true": True,
}


def listed(uids: list[Any], key: str = "SOPInstanceUID") -> Action:
    return answer(json.dumps([{key: uid} for uid in uids]).encode(), headers=JSON)


def for_list(action: Action) -> Callable[[Seen], Action | None]:
    return lambda seen: action if asks_for(seen, "getSOPInstanceUIDs", SERIES) else None


@pytest.mark.parametrize("kind", ["nbia-v1", "nbia", "tcia-v3"])
async def test_sop_instance_uids_are_read_without_their_padding(kind: str, bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=len(PADDED)))
    action = listed([pad(one.sop_uid) for pad, one in zip(PADDED.values(), made_up, strict=True)])
    async with HostileArchive(made_up) as archive:
        archive.attack = lambda seen: action if endpoint_of(seen) == "getSOPInstanceUIDs" else None
        archive.row_changes = {made_up[0].series_uid: {"ImageCount": None}}
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", kind=kind), within=15)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)


async def test_instances_that_cannot_be_read_are_failures_of_their_series(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=len(UNREADABLE) + 1, per_series=2))
    uids = list(dict.fromkeys(one.series_uid for one in made_up))
    odd = given(uids, UNREADABLE.values())

    def attack(seen: Seen) -> Action | None:
        if endpoint_of(seen) != "getSOPInstanceUIDs" or (uid := seen.query["SeriesInstanceUID"]) not in odd:
            return None
        return listed([next(one.sop_uid for one in made_up if one.series_uid == uid), odd[uid]])

    async with HostileArchive(made_up, attack) as archive:
        archive.row_changes = {uid: {"ImageCount": None} for uid in uids}
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=20)
        assert_orderly(ended, 1)
        assert {series for series, _, _ in ended.failures()} == set(odd)
        status = await bulkdl.run("status", tmp_path / "mirror", "--json")
    assert status.document()["series"]["failed"] == len(odd)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([*made_up[:-2:2], *made_up[-2:]])


@pytest.mark.parametrize("key", ["SOPInstanceUid", "sop_instance_uid"])
async def test_a_list_under_another_key_is_not_called_empty(key: str, bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP, for_list(listed(SOPS, key))) as archive:
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    if ended.code != 0:  # to understand it is right as well
        assert_orderly(ended, 1)
        assert [series for series, _, _ in ended.failures()] == [SERIES]
        assert "no instances" not in ended.said()


def with_rows(archive: HostileArchive, changes: list[dict[str, Any]]) -> Callable[[Seen], Action | None]:
    """Answer getSeries as the archive has it, but for changes to its first rows."""

    def attack(seen: Seen) -> Action | None:
        if endpoint_of(seen) != "getSeries":
            return None
        rows = archive.rows()
        changed = [{**row, **change} for row, change in zip(rows, changes, strict=False)]
        return answer(json.dumps([*changed, *rows[len(changes) :]]).encode(), headers=JSON)

    return attack


UIDS = ["SeriesInstanceUID", "StudyInstanceUID"]


@pytest.mark.parametrize("field", UIDS)
async def test_uids_of_series_and_studies_are_read_without_their_padding(
    field: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    made_up = list(instances(series=len(PADDED), per_series=1))
    async with HostileArchive(made_up) as archive:
        changes = [{field: pad(row[field])} for pad, row in zip(PADDED.values(), archive.rows(), strict=True)]
        archive.attack = with_rows(archive, changes)
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)


async def test_series_that_cannot_be_read_are_failures(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=len(UNREADABLE) + 2, per_series=1))
    async with HostileArchive(made_up) as archive:
        archive.attack = with_rows(archive, [{"SeriesInstanceUID": odd} for odd in UNREADABLE.values()])
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
        planned = await bulkdl.run("plan", "--archive", archive.address(), "--collection", "MADE-UP", "--json")
    assert_orderly(ended, 1)
    assert ended.failures()
    assert planned.code == 1
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up[len(UNREADABLE) :])


async def test_unreadable_studies_are_reported(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=4, per_series=1))
    async with HostileArchive(made_up) as archive:
        archive.attack = with_rows(archive, [{"StudyInstanceUID": odd} for odd in ("words", "../../x", 17)])
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--progress", "plain"), within=15)
    assert_orderly(ended)
    assert ended.code == 1 or "StudyInstanceUID" in ended.err


TEXTS = {"Collection": "MADE-UP", "PatientID": MADE_UP[0].patient_id}


@pytest.mark.parametrize("padding", [" ", "\0", " \0"], ids=["blank", "NUL", "both"])
@pytest.mark.parametrize("field", TEXTS)
async def test_texts_are_read_without_their_padding(field: str, padding: str, bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = with_rows(archive, [{field: TEXTS[field] + padding}])
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


NO_OBJECT = {
    "204": without_body(204),
    "204 with a length": answer(b"", status=204),
    "304": without_body(304),
    "an empty 200": answer(b"", headers=JSON),
    "an empty list": answer(b"[]", headers=JSON),
    "null": answer(b"null", headers=JSON),
}


@pytest.mark.parametrize("name", ["204", "an empty 200"])
async def test_a_list_that_is_nothing_once_is_asked_for_again(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: (
            NO_OBJECT[name] if asks_for(seen, "getSOPInstanceUIDs", SERIES) and seen.ordinal == 1 else None
        )
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


@pytest.mark.parametrize("name", ["204", "an empty 200"])
async def test_an_object_that_is_nothing_once_is_asked_for_again(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: (
            NO_OBJECT[name] if asks_for(seen, "getSingleImage", SOPS[0]) and seen.ordinal == 1 else None
        )
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


@pytest.mark.parametrize("name", ["204", "204 with a length", "304", "an empty 200"])
async def test_lists_that_stay_nothing_are_failures_of_their_series(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: NO_OBJECT[name] if endpoint_of(seen) == "getSOPInstanceUIDs" else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 1)
    assert {series for series, _, _ in ended.failures()} == {one.series_uid for one in MADE_UP}


async def test_objects_that_stay_nothing_are_failures(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=len(NO_OBJECT) + 2))
    nothing = given((one.sop_uid for one in made_up), NO_OBJECT.values())
    async with HostileArchive(made_up) as archive:
        archive.attack = lambda seen: (
            nothing.get(seen.query["SOPInstanceUID"]) if endpoint_of(seen) == "getSingleImage" else None
        )
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 1)
    assert {instance for _, instance, _ in ended.failures()} == set(nothing)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up[len(NO_OBJECT) :])
