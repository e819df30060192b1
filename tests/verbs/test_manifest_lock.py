"""A lock of what an archive says has the proofs that it tells, and a mirror is held to the strongest of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import BulkdlError, JournalUnreadable, SelectionError
from bulkdl.manifest import read_manifest
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.locked import LockedInstance, LockHead, read_lock
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.manifest import ManifestWritten
from bulkdl.model.selection import Selection
from bulkdl.verbs.select import Wanted
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of
from tests.support.bucket_server import BUCKET, BucketServer, Stored, bucket_server, key_of, rows_of, write_index_of
from tests.support.dicom_files import MadeUp, instances, padded
from tests.support.faults import Action, Seen, answer
from tests.support.idc_index import write_index
from tests.support.mirrors import checksums_of, checksums_on_disk
from tests.support.syncing import mirrored

MADE_UP = sorted(instances(series=3, per_series=2), key=lambda one: one.series_uid)


def md5(one: MadeUp) -> bytes:
    return hashlib.md5(one.content, usedforsecurity=False).digest()


def parsed(text: str) -> tuple[LockHead, list[LockedInstance]]:
    head, groups = read_lock(text.splitlines(keepends=True), Remarks("a.lock"))
    return head, [one for _, each in groups for one in each]


async def locked(
    archive: str | ArchiveChoice, selection: object = "MADE-UP", **options: object
) -> tuple[str, ManifestWritten]:
    out = io.StringIO()
    report = await bulkdl.manifest_lock_async(selection, out, archive=archive, settings=QUICK, **options)  # type: ignore[arg-type] # of a test
    return out.getvalue(), report


def choice_of(server: BucketServer, folder: Path, made_up: Sequence[MadeUp] = MADE_UP) -> ArchiveChoice:
    index = write_index_of(folder / "index", made_up)
    return bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=folder)


async def test_the_lists_of_a_bucket_tell_size_and_md5_and_no_file_is_downloaded(tmp_path: Path) -> None:
    async with bucket_server(MADE_UP) as server:
        text, report = await locked(choice_of(server, tmp_path))
        assert (server.gets, len(server.lists)) == ([], 3)
    head, found = parsed(text)
    assert report.proofs == {"md5": 6}
    assert (head.series, head.instances, head.release) == (3, 6, "IDC release 25 (index 25.0.5)")
    expected = {f"{BUCKET}/{key_of(one)}": (len(one.content), md5(one), None, None) for one in MADE_UP}
    assert {one.key: (one.size_bytes, one.md5, one.sha256, one.sop_uid) for one in found} == expected


async def test_a_lock_of_a_bucket_holds_a_mirror_of_any_archive_to_its_checksums(tmp_path: Path) -> None:
    async with bucket_server(MADE_UP) as server, BadArchive(MADE_UP) as nbia:
        bucket = choice_of(server, tmp_path)
        text, _ = await locked(bucket)
        (tmp_path / "a.lock").write_text(text)
        for number, choice in enumerate((bucket, nbia.choice(tmp_path))):
            to = tmp_path / str(number)
            report = await bulkdl.mirror_async(tmp_path / "a.lock", to=to, archive=choice, settings=QUICK)
            assert (report.outcome, report.notes) == (RunOutcome.COMPLETE, ("held to the lock: 6 instances by MD5",))
            assert checksums_on_disk(to) == checksums_of(MADE_UP)


def flipped(one: MadeUp) -> MadeUp:
    content = bytearray(one.content)
    content[-3] ^= 1
    return replace(one, content=bytes(content))


async def test_what_a_bucket_flipped_and_withdrew_since_is_named_by_key(tmp_path: Path) -> None:
    async with bucket_server(MADE_UP) as server:
        bucket = choice_of(server, tmp_path)
        text, _ = await locked(bucket)
        (tmp_path / "a.lock").write_text(text)
        server.buckets[BUCKET][key_of(MADE_UP[0])] = Stored(flipped(MADE_UP[0]).content)
        del server.buckets[BUCKET][key_of(MADE_UP[2])]
        write_index(tmp_path / "index", rows_of([*MADE_UP[:2], *MADE_UP[3:]]), names={"made_up": "MADE-UP"})
        report = await bulkdl.mirror_async(tmp_path / "a.lock", to=tmp_path / "m", archive=bucket, settings=QUICK)
    assert report.outcome is RunOutcome.PARTIAL
    assert {(failure.instance or failure.key, failure.error) for failure in report.failures} == {
        (MADE_UP[0].sop_uid, "damaged"),
        (f"{BUCKET}/{key_of(MADE_UP[2])}", "withdrawn"),
    }
    assert "held to the lock: 4 instances by MD5" in report.notes
    assert checksums_on_disk(tmp_path / "m") == checksums_of([MADE_UP[1], *MADE_UP[3:]])


async def test_an_archive_that_has_other_bytes_is_found_out_by_the_md5_of_another(tmp_path: Path) -> None:
    async with bucket_server(MADE_UP) as server:
        text, _ = await locked(choice_of(server, tmp_path))
    (tmp_path / "a.lock").write_text(text)
    async with BadArchive([flipped(MADE_UP[0]), *MADE_UP[1:]]) as nbia:
        choice = nbia.choice(tmp_path)
        report = await bulkdl.mirror_async(tmp_path / "a.lock", to=tmp_path / "m", archive=choice, settings=QUICK)
    (failure,) = report.failures
    assert (failure.error, failure.key) == ("differs-from-lock", f"{BUCKET}/{key_of(MADE_UP[0])}")
    assert "held to the lock: 5 instances by MD5" in report.notes


async def test_nbia_is_asked_for_the_md5_of_each_instance_unless_that_takes_too_long(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        choice = archive.choice(tmp_path)
        text, report = await locked(choice)
        asked = [endpoint_of(seen) for seen in archive.server.requests]
        quick, weak = await locked(choice, quick=True)
    assert (asked.count("getM5HashForImage"), archive.object_requests()) == (6, 0)
    assert {one.sop_uid: one.md5 for one in parsed(text)[1]} == {one.sop_uid: md5(one) for one in MADE_UP}
    assert (report.proofs, weak.proofs) == ({"md5": 6}, {"uid": 6})
    head, _ = parsed(quick)
    assert dict(head.lines())["note"].startswith("only the UID or key of 6 instances is known")  # type: ignore[attr-defined] # a text
    assert (head.size_bytes, head.unsized) == (0, 6)


async def test_an_archive_without_checksums_proves_nothing_and_that_is_said(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        archive.knows_checksums = False
        choice = archive.choice(tmp_path)
        text, report = await locked(choice)
        (tmp_path / "a.lock").write_text(text)
        mirrored_report = await bulkdl.mirror_async(
            tmp_path / "a.lock", to=tmp_path / "m", archive=choice, settings=QUICK
        )
    said = "the lock has no SHA-256 of 6 instances: it has only the UID, which proves no bytes, of 6"
    assert (report.proofs, report.notes) == ({"uid": 6}, (said,))
    assert mirrored_report.outcome is RunOutcome.COMPLETE
    assert mirrored_report.notes == ("held to the lock: 6 instances by UID alone, which proves no bytes",)


async def test_a_mirror_beside_the_archive_gives_the_sha256_of_the_same_instances(tmp_path: Path) -> None:
    now = [padded(MADE_UP[0]), *MADE_UP[1:]]
    async with BadArchive(MADE_UP) as nbia, bucket_server(now) as server:
        mirror = await mirrored(nbia, tmp_path)
        text, report = await locked(choice_of(server, tmp_path, now), mirror=mirror)
    found = {one.key: one for one in parsed(text)[1]}
    for one in MADE_UP[1:]:
        instance = found[f"{BUCKET}/{key_of(one)}"]
        assert (instance.sop_uid, instance.sha256) == (one.sop_uid, hashlib.sha256(one.content).digest())
    changed = found[f"{BUCKET}/{key_of(now[0])}"]
    assert (changed.sop_uid, changed.md5, changed.sha256) == (None, md5(now[0]), None)
    assert report.proofs == {"sha256": 5, "md5": 1}


async def test_a_file_that_the_archive_has_replaced_gives_no_sha256(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        archive.made_up = [padded(MADE_UP[0]), *MADE_UP[1:]]
        _, report = await locked(archive.choice(tmp_path), mirror=mirror)
    assert report.proofs == {"sha256": 5, "md5": 1}
    assert report.notes[-1] == "the SHA-256 of 1 file is left out: the mirror has other bytes than the archive"


async def test_single_instances_of_a_manifest_are_locked_and_what_is_not_there_is_named(tmp_path: Path) -> None:
    one, gone = MADE_UP[0], "1.2.3.4"
    selection = Selection(
        series=(one.series_uid, gone),  # type: ignore[arg-type] # a UID
        instances=((one.series_uid, (one.sop_uid, gone)),),  # type: ignore[arg-type] # a UID
    )
    async with BadArchive(MADE_UP) as archive:
        text, report = await locked(archive.choice(tmp_path), selection)
        with pytest.raises(SelectionError, match="nothing can be locked: the archive does not have this series"):
            await locked(archive.choice(tmp_path), Selection(series=(gone,)))  # type: ignore[arg-type] # a UID
    assert [each.sop_uid for each in parsed(text)[1]] == [one.sop_uid]
    assert {(failure.series, failure.instance) for failure in report.failures} == {
        (gone, None),
        (one.series_uid, gone),
    }


async def test_a_list_that_fails_leaves_no_lock(tmp_path: Path) -> None:
    def fails(seen: Seen) -> Action | None:
        return answer(b"", status=500) if seen.query.get("SeriesInstanceUID") == MADE_UP[-1].series_uid else None

    out = io.StringIO()
    async with BadArchive(MADE_UP, fails) as archive:
        with pytest.raises(BulkdlError):
            await bulkdl.manifest_lock_async("MADE-UP", out, archive=archive.choice(tmp_path), settings=QUICK)
    assert out.getvalue() == ""


async def test_a_manifest_is_locked_by_asking(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{MADE_UP[0].series_uid}\n")
    async with BadArchive(MADE_UP) as archive:
        text, report = await locked(archive.choice(tmp_path), tmp_path / "a.txt")
    assert (report.series, report.instances) == (1, 2)
    assert read_manifest(text.encode(), source="-").series == (MADE_UP[0].series_uid,)


async def test_a_folder_is_a_mirror_and_takes_no_criteria(tmp_path: Path) -> None:
    for selection in (tmp_path, str(tmp_path), Selection(data_sets=(str(tmp_path),))):
        with pytest.raises(JournalUnreadable, match="is not a mirror"):
            await bulkdl.manifest_lock_async(selection, io.StringIO())
    narrowed = Selection(data_sets=(str(tmp_path),), modalities=("CT",))
    wanted: list[Wanted] = [narrowed, [tmp_path, "OTHER"], Selection(data_sets=("OTHER", str(tmp_path)))]
    for several in wanted:
        with pytest.raises(SelectionError, match="leave out the other options"):
            await bulkdl.manifest_lock_async(several, io.StringIO(), archive="http://127.0.0.1:9/nbia-api/services")
    with pytest.raises(SelectionError, match="leave out the other options"):
        await bulkdl.manifest_lock_async(tmp_path, io.StringIO(), modality="CT")
