"""A refusal of one object is not a refusal of the caller: what is refused fails by name, all else is downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.hostile import OBJECTS, HostileArchive, asks_for, endpoint_of
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=5, per_series=3))
SERIES = list(dict.fromkeys(one.series_uid for one in MADE_UP))
REFUSED = SERIES[2]
OTHERS = [one for one in MADE_UP if one.series_uid != REFUSED]
REFUSALS = {
    "403": answer(b"You do not have access to this series", status=403),
    "401": answer(b"", status=401),
    "407": answer(b"", status=407),
    "400": answer(b"The user has not been granted the access to image with given SeriesInstanceUID", status=400),
    "451": answer(b"", status=451),
}


def of_refused(seen: Seen) -> bool:
    return seen.query.get("SeriesInstanceUID") == REFUSED


@pytest.mark.parametrize(
    ("status", "transport"),
    [
        ("403", "single"),
        ("403", "zip"),
        ("401", "single"),
        ("407", "single"),
        ("400", "single"),
        ("451", "single"),
        ("400", "zip"),
    ],
)
async def test_a_series_whose_images_are_refused_fails_alone(
    status: str, transport: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    refusal = REFUSALS[status]
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: refusal if of_refused(seen) and endpoint_of(seen) in OBJECTS else None
        words = archive.mirror_everything(tmp_path / "mirror", "--transport", transport)
        ended = await bulkdl.run(*words, within=15)
    assert_orderly(ended, 1)
    assert {series for series, _, _ in ended.failures()} == {REFUSED}
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(OTHERS)


@pytest.mark.parametrize("status", ["403", "401", "400", "451"])
async def test_a_series_whose_list_is_refused_fails_alone(status: str, bulkdl: Watcher, tmp_path: Path) -> None:
    refusal = REFUSALS[status]
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: (
            refusal if of_refused(seen) and endpoint_of(seen) == "getSOPInstanceUIDs" else None
        )
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 1)
    assert [(series, instance) for series, instance, _ in ended.failures()] == [(REFUSED, None)]
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(OTHERS)


@pytest.mark.parametrize("kind", ["nbia-v1", "nbia", "tcia-v3"])
@pytest.mark.parametrize("status", ["403"])
async def test_a_series_of_a_list_whose_record_is_refused_fails_alone(
    status: str, kind: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    def attack(seen: Seen) -> Action | None:
        is_record = endpoint_of(seen) in {"getSeries", "getSeriesMetadata"}
        return REFUSALS[status] if is_record and REFUSED.encode() in seen.body + seen.target.encode() else None

    async with HostileArchive(MADE_UP, attack) as archive:
        ended = await bulkdl.run(*archive.mirror_series(tmp_path / "mirror", kind=kind), within=15)
    assert_orderly(ended, 1)
    assert {series for series, _, _ in ended.failures()} == {REFUSED}
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(OTHERS)


async def test_one_refused_instance_fails_alone(bulkdl: Watcher, tmp_path: Path) -> None:
    victim = MADE_UP[4]
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: REFUSALS["403"] if asks_for(seen, "getSingleImage", victim.sop_uid) else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 1)
    assert [instance for _, instance, _ in ended.failures()] == [victim.sop_uid]
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([one for one in MADE_UP if one is not victim])


async def test_one_refused_collection_of_two_fails_alone(bulkdl: Watcher, tmp_path: Path) -> None:
    closed = list(instances(series=1, per_series=2, collection="CLOSED"))
    async with HostileArchive([*MADE_UP, *closed]) as archive:
        archive.attack = lambda seen: (
            REFUSALS["403"] if endpoint_of(seen) == "getSeries" and seen.query.get("Collection") == "CLOSED" else None
        )
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 1)
    assert "CLOSED" in ended.out
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_a_resume_of_a_refused_series_fetches_what_was_opened_since(bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: REFUSALS["403"] if of_refused(seen) and endpoint_of(seen) in OBJECTS else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
        assert_orderly(ended, 1)
        archive.attack = lambda _: None
        before = len(archive.object_requests())
        ended = await bulkdl.run("resume", tmp_path / "mirror", "--progress", "none", "--json", within=15)
        assert_orderly(ended, 0)
        assert len(archive.object_requests()) - before <= 3
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


EVERYTHING: dict[str, Callable[[Seen], bool]] = {
    "every request": lambda _: True,
    "every object": lambda seen: endpoint_of(seen) in OBJECTS,
    "every list of instances": lambda seen: endpoint_of(seen) == "getSOPInstanceUIDs",
    "every record": lambda seen: endpoint_of(seen) == "getSeries",
}


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("status", ["403"])
async def test_an_archive_that_refuses_everything_is_exit_3_in_few_requests(
    status: str, name: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    made_up = list(instances(series=20, per_series=5))
    async with HostileArchive(made_up) as archive:
        archive.attack = lambda seen: REFUSALS[status] if EVERYTHING[name](seen) else None
        words = archive.mirror_everything(tmp_path / "mirror", "--concurrency", "8")  # so few are in flight at its end
        ended = await bulkdl.run(*words, within=15)
        refused = [seen for seen in archive.server.requests if EVERYTHING[name](seen)]
    assert_orderly(ended, 3)
    assert status in ended.said()
    assert len(refused) <= 64  # it ends before it has requested all 100
    assert json.loads(ended.out)
