"""MD5s are computed where an archive knows MD5s, and later of files that came from one that does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.archive.nbia.values import md5_of_md5s
from bulkdl.fetch.digests import digests_of
from bulkdl.fetch.md5s import with_md5s
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance
from bulkdl.model.records import Entry
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.settings import Transport
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.files import MirrorFiles
from tests.support.bad_archive import JSON, QUICK, ZIP, BadArchive, endpoint_of, zip_of
from tests.support.dicom_files import MadeUp, instances, padded
from tests.support.faults import Action, Seen, answer

MADE_UP = list(instances(series=2, per_series=3))
ONE = MADE_UP[0]


def held(one: MadeUp, **changes: object) -> HeldInstance:
    entry, digests = Entry(one.sop_uid, one.sop_uid), digests_of(one.content)
    path, size_bytes = f"{one.sop_uid}.dcm", len(one.content)
    row = HeldInstance(1, one.series_uid, one.sop_uid, path, size_bytes, None, digests.sha256, 0, None, entry)
    return replace(row, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("knows_sha256", [True, False])
def test_an_md5_that_is_not_known_is_computed_from_the_file(tmp_path: Path, *, knows_sha256: bool) -> None:
    (tmp_path / f"{ONE.sop_uid}.dcm").write_bytes(ONE.content)
    (found,) = with_md5s([held(ONE) if knows_sha256 else held(ONE, sha256=None)], MirrorFiles(tmp_path))
    assert found.md5 == digests_of(ONE.content).md5


def test_a_known_md5_is_kept_and_the_file_not_read(tmp_path: Path) -> None:
    row = held(ONE, md5=b"0" * 16)
    assert with_md5s([row], MirrorFiles(tmp_path)) == [row]


@pytest.mark.parametrize("lies_there", [True, False], ids=["damaged", "missing"])
def test_a_file_that_is_not_the_journalled_one_has_no_md5(tmp_path: Path, *, lies_there: bool) -> None:
    if lies_there:
        (tmp_path / f"{ONE.sop_uid}.dcm").write_bytes(b"damaged")
    assert with_md5s([held(ONE)], MirrorFiles(tmp_path)) == [held(ONE)]


# --- with archives ----------------------------------------------------------------------------------------------------


def without_checksums(archive: BadArchive) -> str:
    """The address of the same archive as TCIA v3, which has no checksums."""
    return f"tcia-v3+{archive.server.url}"


def md5s_in(mirror: Path) -> dict[str, bytes | None]:
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        return {row.sop_uid: row.md5 for row in journal.held(limit=100)}


def md5s_of(made_up: list[MadeUp]) -> dict[str, bytes | None]:
    return {one.sop_uid: digests_of(one.content).md5 for one in made_up}


def plain_zip(seen: Seen) -> Action | None:
    """The zip of TCIA v3, which BadArchive does not have."""
    if endpoint_of(seen) != "getImage":
        return None
    of_series = [one for one in MADE_UP if one.series_uid == seen.query["SeriesInstanceUID"]]
    return answer(zip_of([(f"{one.sop_uid}.dcm", one.content) for one in of_series], hashes=False), headers=ZIP)


@pytest.mark.parametrize("transport", list(Transport)[1:])
@pytest.mark.parametrize("knows_md5s", [True, False])
async def test_the_journal_has_md5s_if_the_archive_knows_some(
    tmp_path: Path, transport: Transport, *, knows_md5s: bool
) -> None:
    async with BadArchive(MADE_UP, plain_zip) as archive:
        address = archive.address if knows_md5s else without_checksums(archive)
        settings = replace(QUICK, transport=transport)
        report = await bulkdl.mirror_async(
            collection=MADE_UP[0].collection, to=tmp_path, archive=address, settings=settings
        )
        assert archive.object_requests() == (6 if transport is Transport.SINGLE else 2)
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 6)
    assert md5s_in(tmp_path) == (md5s_of(MADE_UP) if knows_md5s else dict.fromkeys(md5s_of(MADE_UP)))


@pytest.mark.parametrize("is_changed", [True, False], ids=["changed", "same"])
async def test_verify_compares_files_of_another_archive_with_one_that_knows_md5s(
    tmp_path: Path, *, is_changed: bool
) -> None:
    there = [padded(MADE_UP[0]) if is_changed else MADE_UP[0], *MADE_UP[1:]]

    def answers(seen: Seen) -> Action | None:
        of_series = [one for one in there if one.series_uid in (seen.body.decode() + seen.target)]
        if endpoint_of(seen) == "getMD5Hierarchy":
            digests = (digests_of(one.content).md5 or b"" for one in of_series)
            return answer(md5_of_md5s(md5.hex() for md5 in digests).encode())
        return answer(b"[{}]", headers=JSON) if endpoint_of(seen) == "getSeriesSize" else None

    async with BadArchive(MADE_UP, answers) as archive:
        address = without_checksums(archive)
        await bulkdl.mirror_async(collection=MADE_UP[0].collection, to=tmp_path, archive=address, settings=QUICK)
        address = f"nbia-v4+{archive.server.url}"
        report = await bulkdl.verify_async(tmp_path, quick=True, remote=True, archive=address, settings=QUICK)
    assert report.series_compared == 2
    assert [problem.series for problem in report.problems] == ([MADE_UP[0].series_uid] if is_changed else [])


async def test_sync_with_an_archive_that_knows_md5s_replaces_what_differs_alone(tmp_path: Path) -> None:
    changed = padded(MADE_UP[0])
    async with BadArchive([*MADE_UP[:2], *MADE_UP[3:]]) as archive:
        address = without_checksums(archive)
        await bulkdl.mirror_async(collection=MADE_UP[0].collection, to=tmp_path, archive=address, settings=QUICK)
        archive.made_up = [changed, *MADE_UP[1:]]
        report = await bulkdl.sync_async(tmp_path, archive=archive.address, settings=QUICK)
    assert report.instances.fetched == 2
    assert md5s_in(tmp_path) == md5s_of([changed, *MADE_UP[1:3]]) | dict.fromkeys(md5s_of(MADE_UP[3:]))
