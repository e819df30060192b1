"""A lock of a mirror rebuilds it elsewhere, and what the archive changed since is named."""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import Damaged, LockedInstanceError, Replaced
from bulkdl.journal.rows import HeldInstance
from bulkdl.manifest.locked import LockedInstance
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Entry
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import RunReport
from bulkdl.runtime.bounded_files import read_file
from bulkdl.verbs.locks.holder import ListedNow, judge, pair
from bulkdl.verbs.mirrors.folders import kept_locks
from bulkdl.verbs.select import select_from
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.faults import Action, Seen
from tests.support.syncing import mirrored

MADE_UP = list(instances(series=3, per_series=4))
FLIPPED, CHANGED, GONE = (MADE_UP[number] for number in (1, 6, 10))


def with_other_bytes(made_up: Sequence[MadeUp]) -> list[MadeUp]:
    """One instance with a flipped byte, one that is longer, and one less."""
    flipped = bytearray(FLIPPED.content)
    flipped[-3] ^= 1
    contents = {FLIPPED.sop_uid: bytes(flipped), CHANGED.sop_uid: longer_of(CHANGED.content)}
    kept = (one for one in made_up if one is not GONE)
    return [replace(one, content=contents.get(one.sop_uid, one.content)) for one in kept]


def longer_of(content: bytes) -> bytes:
    """The same instance with a padding element of eight bytes at its end (PS3.10 §7.2)."""
    return content + b"\xfc\xff\xfc\xffOB\x00\x00\x02\x00\x00\x00\x00\x00"


@pytest.fixture
async def lock(tmp_path: Path) -> Path:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path / "first")
    with (tmp_path / "cohort.lock").open("w", newline="") as file:
        report = bulkdl.manifest_lock(mirror, file)
    assert (report.format, report.series, report.instances) == ("lock", 3, 12)
    return tmp_path / "cohort.lock"


async def rebuilt(lock: Path, to: Path, made_up: Sequence[MadeUp]) -> RunReport:
    async with BadArchive(made_up) as archive:
        return await bulkdl.mirror_async(str(lock), to=to, archive=archive.choice(to.parent), settings=QUICK)


def body_of(lock: str) -> str:
    """A lock from its digest on."""
    return lock.partition("sha256")[2]


def digests(mirror: Path) -> set[str]:
    files = (path for path in mirror.rglob("*.dcm") if ".bulkdl" not in path.parts)
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


async def test_a_lock_rebuilds_the_mirror_elsewhere(lock: Path, tmp_path: Path) -> None:
    report = await rebuilt(lock, tmp_path / "second", MADE_UP)
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 12)
    assert digests(tmp_path / "second") == digests(tmp_path / "first" / "mirror")
    out = io.StringIO()
    bulkdl.manifest_lock(tmp_path / "second", out)
    original = read_file(lock)
    assert body_of(out.getvalue()) == body_of(original.decode())
    assert list(map(read_file, kept_locks(tmp_path / "second"))) == [original]


async def test_a_lock_may_come_from_standard_input(lock: Path, tmp_path: Path) -> None:
    selection = select_from(read_file(lock), source="standard input")
    async with BadArchive(with_other_bytes(MADE_UP)) as archive:
        choice = archive.choice(tmp_path)
        report = await bulkdl.mirror_async(selection, to=tmp_path / "second", archive=choice, settings=QUICK)
    assert {failure.error for failure in report.failures} == {"damaged", "replaced", "withdrawn"}


async def test_instances_that_the_lock_does_not_have_are_not_downloaded(lock: Path, tmp_path: Path) -> None:
    more = list(instances(series=3, per_series=5))
    report = await rebuilt(lock, tmp_path / "second", more)
    assert (report.outcome, report.instances.selected) == (RunOutcome.COMPLETE, 12)


async def test_what_was_flipped_replaced_and_withdrawn_is_named(lock: Path, tmp_path: Path) -> None:
    report = await rebuilt(lock, tmp_path / "second", with_other_bytes(MADE_UP))
    found = {failure.instance: (failure.error, failure.message.partition(":")[0]) for failure in report.failures}
    assert found == {
        FLIPPED.sop_uid: ("damaged", "damaged"),
        CHANGED.sop_uid: ("replaced", "replaced"),
        GONE.sop_uid: ("withdrawn", "withdrawn"),
    }
    assert report.outcome is RunOutcome.PARTIAL
    of = report.instances
    assert (of.selected, of.fetched, of.reused, of.failed, of.quarantined) == (12, 9, 0, 1, 2)
    assert len(digests(tmp_path / "second")) == 9
    assert digests(tmp_path / "second") < digests(tmp_path / "first" / "mirror")


async def test_resume_is_held_to_the_lock_too_and_the_right_archive_completes_it(lock: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "second"
    await rebuilt(lock, mirror, with_other_bytes(MADE_UP))
    async with BadArchive(with_other_bytes(MADE_UP)) as archive:
        report = await bulkdl.resume_async(mirror, archive=archive.choice(tmp_path), settings=QUICK)
    assert {failure.error for failure in report.failures} == {"damaged", "replaced", "withdrawn"}
    assert len(digests(mirror)) == 9
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.resume_async(mirror, archive=archive.choice(tmp_path), settings=QUICK)
    assert (report.outcome, digests(mirror)) == (RunOutcome.COMPLETE, digests(tmp_path / "first" / "mirror"))


async def test_an_interrupted_run_is_compared_when_it_is_resumed(lock: Path, tmp_path: Path) -> None:
    mirror, stop, asked = tmp_path / "second", asyncio.Event(), itertools.count(1)

    def fault(seen: Seen) -> Action | None:
        if endpoint_of(seen) == "getSingleImage" and next(asked) == 4:
            stop.set()
        return None

    async with BadArchive(with_other_bytes(MADE_UP), fault) as archive:
        choice = archive.choice(tmp_path)
        cut = await bulkdl.mirror_async(str(lock), to=mirror, archive=choice, settings=QUICK, stop=stop)
        resumed = await bulkdl.resume_async(mirror, archive=choice, settings=QUICK)
    assert cut.outcome is RunOutcome.INTERRUPTED
    assert {failure.error for failure in resumed.failures} == {"damaged", "replaced", "withdrawn"}
    assert len(digests(mirror)) == 9


async def test_a_withdrawn_series_is_named_once(lock: Path, tmp_path: Path) -> None:
    gone = MADE_UP[0].series_uid
    report = await rebuilt(lock, tmp_path / "second", [one for one in MADE_UP if one.series_uid != gone])
    assert [(each.series, each.instance, each.error) for each in report.failures] == [(gone, None, "withdrawn")]
    assert report.failures[0].message.startswith("withdrawn: the archive does not have this series and its 4 instances")


def test_a_lock_of_a_bucket_rebuilds_from_the_bucket_and_from_nbia(tmp_path: Path, cache: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    write_folder(tmp_path / "changed", iter(with_other_bytes(MADE_UP)))
    with bulkdl.serve(tmp_path / "folder", cache=cache) as served:
        bucket, nbia = bucket_of(served.url, tmp_path), served.url
        bulkdl.mirror(collection="MADE-UP", to=tmp_path / "first", archive=bucket)
        with (tmp_path / "bucket.lock").open("w", newline="") as file:
            assert bulkdl.manifest_lock(tmp_path / "first", file).instances == 12
        choices: tuple[str | ArchiveChoice, ...] = (bucket, nbia)
        for number, archive in enumerate(choices):
            to = tmp_path / str(number)
            report = bulkdl.mirror(tmp_path / "bucket.lock", to=to, archive=archive)
            assert (report.outcome, digests(to)) == (RunOutcome.COMPLETE, digests(tmp_path / "first"))
    with bulkdl.serve(tmp_path / "changed", cache=cache) as served:
        bucket = bucket_of(served.url, tmp_path)
        report = bulkdl.mirror(tmp_path / "bucket.lock", to=tmp_path / "second", archive=bucket)
    assert {failure.instance: failure.error for failure in report.failures} == {
        FLIPPED.sop_uid: "damaged",
        CHANGED.sop_uid: "replaced",
        GONE.sop_uid: "withdrawn",
    }
    assert report.outcome is RunOutcome.PARTIAL
    assert len(digests(tmp_path / "second")) == 9


def bucket_of(address: str, cache: Path) -> ArchiveChoice:
    """The S3 bucket of a served archive, in the form of the IDC."""
    root = address.partition("/nbia-api")[0]
    return bulkdl.reach(f"idc+{root}", idc_index=f"{root}/bulkdl/index/idc_index.parquet", cache=cache / root[-5:])


async def test_two_locks_are_compared_by_their_bytes(lock: Path, tmp_path: Path) -> None:
    async with BadArchive(with_other_bytes(MADE_UP)) as archive:
        mirror = await mirrored(archive, tmp_path / "other")
    with (tmp_path / "other.lock").open("w", newline="") as file:
        bulkdl.manifest_lock(mirror, file)
    report = bulkdl.manifest_diff(lock, tmp_path / "other.lock")
    assert report.removed == (f"instance {GONE.series_uid}/{GONE.sop_uid}",)
    assert report.added == ()
    sizes = f"{len(CHANGED.content):,} → {len(CHANGED.content) + 14:,} bytes"
    assert set(report.changed) == {
        f"instance {FLIPPED.series_uid}/{FLIPPED.sop_uid}: other bytes",
        f"instance {CHANGED.series_uid}/{CHANGED.sop_uid}: {sizes}",
    }
    assert bulkdl.manifest_diff(lock, lock).is_same


UID = SopInstanceUid("1.2.3")
LOCKED = LockedInstance(UID, 10, b"m" * 16, b"s" * 32, "1.2.840.10008.1.2.1", "bucket/series/one.dcm")


def held(key: str, size_bytes: int, syntax: str) -> HeldInstance:
    return HeldInstance(1, SeriesUid("1.2"), UID, "a/b.dcm", size_bytes, None, b"t" * 32, 0, syntax, Entry(key, UID))


@pytest.mark.parametrize(
    ("key", "size_bytes", "syntax", "md5", "kind"),
    [
        (LOCKED.key, 10, LOCKED.transfer_syntax_uid, None, Damaged),
        (LOCKED.key, 12, LOCKED.transfer_syntax_uid, None, Replaced),
        (LOCKED.key, 12, LOCKED.transfer_syntax_uid, LOCKED.md5, Damaged),
        (LOCKED.key, 10, "1.2.840.10008.1.2.4.70", None, Replaced),
        ("bucket/series/two.dcm", 10, LOCKED.transfer_syntax_uid, None, Replaced),
        (UID, 10, LOCKED.transfer_syntax_uid, b"x" * 16, Damaged),
    ],
    ids=["same size", "another size", "the archive's MD5 is right", "another syntax", "another key", "another archive"],
)
def test_a_difference_is_judged_by_what_the_archive_says(
    key: str, size_bytes: int, syntax: str, md5: bytes | None, kind: type[LockedInstanceError]
) -> None:
    assert type(judge(LOCKED, held(key, size_bytes, syntax), md5)) is kind


def file(sop_uid: str, key: str, md5: bytes | None) -> HeldInstance:
    uid = SopInstanceUid(sop_uid)
    return HeldInstance(1, SeriesUid("1.2"), uid, "a/b.dcm", 10, md5, sop_uid.encode(), 0, None, Entry(key, uid))


def test_files_are_paired_with_a_lock_by_uid_else_by_key_else_by_checksum() -> None:
    files = [file(f"1.2.{number}", f"b/s/{number}.dcm", bytes([number]) * 16) for number in range(5)]
    by_uid = LockedInstance(SopInstanceUid("1.2.0"), None, None, None)
    by_key = LockedInstance(None, None, b"x" * 16, None, key="b/s/1.dcm")
    by_md5 = LockedInstance(None, None, bytes([2]) * 16, None, key="other/s/2.dcm")
    by_sha256 = LockedInstance(None, None, None, b"1.2.3", key="other/s/3.dcm")
    none = LockedInstance(None, 10, None, None, key="other/s/4.dcm")
    again = LockedInstance(None, None, bytes([2]) * 16, None, key="other/s/5.dcm")
    locked = [none, again, by_md5, by_sha256, by_key, by_uid]
    found = {each.name: held and held.sop_uid for each, held in pair(locked, files)}
    assert found == {
        by_uid.name: "1.2.0",
        by_key.name: "1.2.1",
        again.name: "1.2.2",
        by_md5.name: None,
        by_sha256.name: "1.2.3",
        none.name: None,
    }


@pytest.mark.parametrize(
    ("locked", "uids", "keys", "is_held", "lacks"),
    [
        (LOCKED, {UID}, set(), False, False),
        (LOCKED, {"1.2.4"}, set(), False, True),
        (LOCKED, set(), {LOCKED.key}, False, False),
        (LOCKED, set(), {"b/s/other.dcm"}, False, True),
        (replace(LOCKED, key=None), set(), {"b/s/other.dcm"}, False, False),
        (replace(LOCKED, key=None), set(), {"b/s/other.dcm"}, True, True),
        (replace(LOCKED, sop_uid=None), {"1.2.4"}, set(), False, False),
    ],
    ids=["listed", "not listed", "key listed", "another key", "no key, may be there", "no key, all is held", "no UID"],
)
def test_an_instance_is_missing_at_the_archive_only_if_its_list_tells(
    *, locked: LockedInstance, uids: set[str], keys: set[str], is_held: bool, lacks: bool
) -> None:
    assert ListedNow(frozenset(uids), frozenset(keys), is_held=is_held).lacks(locked) is lacks
