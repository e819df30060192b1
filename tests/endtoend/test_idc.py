"""Mirrors of buckets in the form of IDC: of a small server of the tests and of moto's; and what goes wrong, by name."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bulkdl.errors import ArchiveRefused, ArchiveUnreachable
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import RunReport
from bulkdl.model.reports.verify import ProblemKind
from bulkdl.model.selection import Selection
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.manifest import manifest_from_mirror
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.plan import plan_async
from bulkdl.verbs.relayout import relayout_async
from bulkdl.verbs.resume import resume_async
from bulkdl.verbs.sync import sync_async
from bulkdl.verbs.verify import verify_async
from tests.support.bad_archive import QUICK
from tests.support.bucket_server import (
    BUCKET,
    XML,
    BucketServer,
    Stored,
    key_of,
    list_xml,
    part_of,
    rows_of,
    s3_error,
    series_uuid,
    stored_by_key,
    uuid_of,
    write_index_of,
)
from tests.support.commands import run
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, answer
from tests.support.idc_index import write_index
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.moto_server import MotoBucket, moto_bucket

MADE_UP = list(instances(series=4, per_series=5))
FIRST = [one for one in MADE_UP if one.series_uid == MADE_UP[0].series_uid]
ONE = FIRST[0]

EVERYTHING = Selection(everything=True)

Fault = Callable[[Seen], "Action | None"]


def of(*, series: str | None = None, patient: str | None = None) -> list[MadeUp]:
    """Those of the made-up instances that are of one Series, or one Patient."""
    return [one for one in MADE_UP if series in {None, one.series_uid} and patient in {None, one.patient_id}]


@dataclass(frozen=True)
class Idc:
    """A bucket in the form of IDC, its index, and the mirror that is made of it."""

    url: str
    folder: Path
    server: BucketServer

    @property
    def mirror(self) -> Path:
        return self.folder / "mirror"

    def choice(self) -> ArchiveChoice:
        index = str(self.folder / "index")
        return ArchiveChoice(cache=self.folder / "cache", name=f"idc+{self.url}", idc_index=index)

    async def fetch(
        self, selection: Selection | Path = EVERYTHING, *, layout: str | None = None, **settings: Any
    ) -> RunReport:
        archive, chosen = self.choice(), replace(QUICK, **settings)
        return await mirror_async(selection, to=self.mirror, archive=archive, settings=chosen, layout=layout)

    def check(self, wanted: Sequence[MadeUp] = MADE_UP) -> None:
        """The mirror has these instances, as the journal says, and nothing else."""
        expected = checksums_of(list(wanted))
        assert checksums_on_disk(self.mirror) == expected
        assert journalled_checksums(self.mirror) == expected


@asynccontextmanager
async def idc(
    folder: Path,
    made_up: Sequence[MadeUp] = MADE_UP,
    *,
    stored: Mapping[str, Stored] | None = None,
    fault: Fault = lambda _: None,
    page_keys: int = 1_000,
    url: str | None = None,
) -> AsyncIterator[Idc]:
    """The bucket of these instances, with other objects than theirs where `stored` has them; or the one at `url`."""
    write_index_of(folder / "index", made_up)
    objects = stored_by_key(made_up) if stored is None else stored
    running = BucketServer({BUCKET: objects}, fault=fault, page_keys=page_keys)
    async with running.server:
        yield Idc(url or running.url, folder, running)


# --- whole mirrors ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoBucket]:
    with moto_bucket() as bucket:
        bucket.put(MADE_UP)
        yield bucket


SELECTIONS = {
    "collection": (Selection(collections=("MADE-UP",)), MADE_UP),
    "patient": (Selection(patients=(ONE.patient_id,)), of(patient=ONE.patient_id)),
    "series": (Selection(series=(ONE.series_uid,)), FIRST),
    "tcia": (None, [*FIRST, *of(series=MADE_UP[-1].series_uid)]),
    "s5cmd": (None, [*FIRST, *of(series=MADE_UP[-1].series_uid)]),
}


@pytest.mark.parametrize("server", ["own", "moto"])
@pytest.mark.parametrize("chosen", SELECTIONS)
async def test_a_mirror_is_complete(tmp_path: Path, request: pytest.FixtureRequest, server: str, chosen: str) -> None:
    selection, wanted = SELECTIONS[chosen]
    manifest = tmp_path / "some.txt"
    uids = dict.fromkeys(one.series_uid for one in wanted)
    copied = [f"cp s3://{BUCKET}/{series_uuid(uid)}/* ." for uid in uids]
    listed = ["manifestVersion=3.0", "ListOfSeriesToDownload=", *uids]
    manifest.write_text("\n".join(copied if chosen == "s5cmd" else listed))
    url = request.getfixturevalue("moto").url if server == "moto" else None
    async with idc(tmp_path, page_keys=2, url=url) as archive:
        report = await archive.fetch(selection if selection is not None else manifest)
        assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
        assert report.instances.fetched == len(wanted)
        archive.check(wanted)
        assert (await verify_async(archive.mirror)).problems == ()
        remote = await verify_async(archive.mirror, quick=True, remote=True, archive=archive.choice(), settings=QUICK)
        assert (remote.series_compared, remote.problems) == (len(uids), ())
        again = await archive.fetch(selection if selection is not None else manifest)
        assert (again.outcome, again.instances.fetched, again.requests) == (RunOutcome.COMPLETE, 0, 0)


async def test_manifests_for_s5cmd_name_the_endpoint_of_the_bucket(tmp_path: Path) -> None:
    planned, held = tmp_path / "planned.s5cmd", io.StringIO()
    async with idc(tmp_path) as archive:
        await plan_async(EVERYTHING, archive=archive.choice(), settings=QUICK, save=planned)
        await archive.fetch(Selection(series=(ONE.series_uid,)))
        manifest_from_mirror(archive.mirror, held, format="s5cmd")
        for text in (planned.read_text(), held.getvalue()):
            head, endpoint, *copied = text.splitlines()
            address = archive.url.rstrip("/")
            assert f"--archive idc+{address} --idc-index INDEX --manifest" in head
            assert f"--endpoint-url {address} run" in endpoint
            assert f'cp "s3://{BUCKET}/{series_uuid(ONE.series_uid)}/*" .' in copied


async def test_an_instance_of_moto_comes_in_ranges(tmp_path: Path, moto: MotoBucket) -> None:
    (large,) = instances(series=1, per_series=1, rows=1_000, seed="large")
    moto.put([large])
    async with idc(tmp_path, [large], url=moto.url) as archive:
        report = await archive.fetch(parallel_above_bytes=1 << 20)
        assert report.outcome is RunOutcome.COMPLETE
        assert report.requests > 4
        archive.check([large])


# --- what goes wrong --------------------------------------------------------------------------------------------------


def stored_with(key: str, stored: Stored | None, *, made_up: Sequence[MadeUp] = MADE_UP) -> dict[str, Stored]:
    """The objects of the instances, one of them replaced, added or left out."""
    objects = stored_by_key(made_up)
    objects.pop(key, None)
    return objects if stored is None else {**objects, key: stored}


def at_key(action: Action) -> Fault:
    """The action for every request for the first instance."""
    return lambda seen: action if seen.path.endswith(key_of(ONE)) else None


def at_list(body: Callable[[], bytes]) -> Fault:
    """This body for every list of the first Series."""
    prefix = f"{series_uuid(ONE.series_uid)}/"
    return lambda seen: answer(body(), headers=XML) if seen.query.get("prefix") == prefix else None


def page(made_up: Sequence[MadeUp], following: str | None = None) -> bytes:
    prefix = f"{series_uuid(made_up[0].series_uid)}/"
    objects = sorted(stored_by_key(made_up).items())
    return list_xml(BUCKET, prefix, objects, following)


OTHER = ONE.content.replace(b"CHEST", b"KNEE ")
EXTRA = f"{series_uuid(ONE.series_uid)}/{uuid_of('extra')}.dcm"
(EXTRA_ONE,) = [
    replace(one, content=one.content)
    for one in instances(series=1, per_series=6)
    if one.sop_uid not in {each.sop_uid for each in FIRST}
]
FOREIGN = [replace(one, content=two.content) for one, two in zip(FIRST, of(series=MADE_UP[5].series_uid), strict=True)]
OTHER_STUDY = [
    replace(one, content=one.content.replace(one.study_uid.encode(), MADE_UP[-1].study_uid.encode())) for one in FIRST
]
LISTED_BYTES = sum(len(one.content) for one in FIRST)


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong: which errors name it, how many instances are held, and what a message says."""

    errors: Mapping[str, int]
    held: int
    message: str
    stored: Mapping[str, Stored] | None = None
    fault: Fault = lambda _: None
    made_up: Sequence[MadeUp] = tuple(MADE_UP)


WRONG = {
    "MD5 mismatch": Wrong(
        {"checksum-mismatch": 1},
        19,
        f"but the archive lists {Stored(ONE.content).md5.hex()} (request REQUEST",
        stored=stored_with(key_of(ONE), Stored(OTHER, Stored(ONE.content).etag)),
    ),
    "403 of one object": Wrong(
        {"access-denied": 1}, 19, "403 AccessDenied", fault=at_key(s3_error(403, "AccessDenied", "Access Denied"))
    ),
    "404 of one object": Wrong(
        {"not-found": 1},
        19,
        "404 NoSuchKey: gone (request REQUEST01)",
        fault=at_key(s3_error(404, "NoSuchKey", "gone")),
    ),
    "truncated list": Wrong(
        {"short-at-source": 1},
        18,
        f"lists 3 instances and counts 5; they have {3 * LISTED_BYTES // 5:,} bytes, the index says {LISTED_BYTES:,}",
        fault=at_list(lambda: page(FIRST[:3])),
    ),
    "list cut in the middle": Wrong(
        {"unexpected-answer": 1}, 15, "not a list of objects", fault=at_list(lambda: page(FIRST)[:-200])
    ),
    "list that never ends": Wrong(
        {"unexpected-answer": 1}, 15, "repeats its keys", fault=at_list(lambda: page(FIRST, "again"))
    ),
    "403 of one list": Wrong(
        {"access-denied": 1},
        15,
        "403 AccessDenied",
        fault=lambda seen: (
            s3_error(403, "AccessDenied")
            if seen.query.get("prefix", "").startswith(series_uuid(ONE.series_uid))
            else None
        ),
    ),
    "missing key": Wrong(
        {"short-at-source": 1}, 19, "lists 4 instances and counts 5", stored=stored_with(key_of(ONE), None)
    ),
    "all keys missing": Wrong(
        {"short-at-source": 1},
        15,
        "lists no instances and counts 5",
        stored=stored_by_key([one for one in MADE_UP if one not in FIRST]),
    ),
    "other bytes than the index says": Wrong(
        {"differs-at-source": 1},
        20,
        f"they have {LISTED_BYTES + 28:,} bytes, the index says {LISTED_BYTES:,}",
        stored=stored_with(key_of(ONE), Stored(ONE.content + b"\xfc\xff\xfc\xffOB\0\0\x10\0\0\0" + bytes(16))),
    ),
    "odd key": Wrong(
        {"differs-at-source": 1},
        20,
        "1 listed keys are not those of instances",
        stored=stored_with(f"{series_uuid(ONE.series_uid)}/index.html", Stored(b"<html>")),
    ),
    "folder of another series": Wrong(
        {"wrong-at-source": 5},
        15,
        "Series Instance UID",
        stored={**stored_by_key(MADE_UP), **stored_by_key(FOREIGN)},
    ),
    "folder of another study": Wrong(
        {"wrong-at-source": 5},
        15,
        f"Study Instance UID {MADE_UP[-1].study_uid}, that of the series is {ONE.study_uid}",
        stored={**stored_by_key(MADE_UP), **stored_by_key(OTHER_STUDY)},
    ),
    "object that is not the listed one": Wrong(
        {"unexpected-answer": 1},
        19,
        "it has changed (request REQUEST",
        fault=lambda seen: part_of(Stored(OTHER), seen) if seen.path.endswith(key_of(ONE)) else None,
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_is_named_and_nothing_wrong_is_visible(tmp_path: Path, name: str) -> None:
    wrong = WRONG[name]
    async with idc(tmp_path, stored=wrong.stored, fault=wrong.fault) as archive:
        report = await archive.fetch()
        assert (report.outcome, report.instances.fetched) == (RunOutcome.PARTIAL, wrong.held)
        assert Counter(failure.error for failure in report.failures) == wrong.errors
        assert all(wrong.message in failure.message for failure in report.failures)
        assert {failure.series for failure in report.failures} == {ONE.series_uid}
        on_disk = checksums_on_disk(archive.mirror)
        assert on_disk == journalled_checksums(archive.mirror)
        assert len(on_disk) == wrong.held
        if name != "other bytes than the index says":
            assert on_disk.items() <= checksums_of(MADE_UP).items()
        assert (await verify_async(archive.mirror)).problems == ()


IN_MOTO = [name for name, wrong in WRONG.items() if wrong.stored is not None and name != "MD5 mismatch"]


@pytest.mark.parametrize("name", IN_MOTO)
async def test_what_is_wrong_in_moto_is_named(tmp_path: Path, moto: MotoBucket, name: str) -> None:
    wrong = WRONG[name]
    with moto.changed(wrong.stored or {}):
        async with idc(tmp_path, url=moto.url) as archive:
            report = await archive.fetch()
    assert (report.outcome, report.instances.fetched) == (RunOutcome.PARTIAL, wrong.held)
    assert Counter(failure.error for failure in report.failures) == wrong.errors
    assert len(checksums_on_disk(archive.mirror)) == wrong.held


async def test_uploads_to_moto_in_parts_are_mirrored(tmp_path: Path, moto: MotoBucket) -> None:
    made_up = list(instances(series=1, per_series=2, seed="in parts"))
    moto.put_in_parts(made_up)
    async with idc(tmp_path, made_up, url=moto.url) as archive:
        report = await archive.fetch()
        assert report.outcome is RunOutcome.COMPLETE
        archive.check(made_up)


@pytest.mark.parametrize(
    "name", ["MD5 mismatch", "404 of one object", "truncated list", "missing key", "403 of one list"]
)
async def test_what_was_wrong_is_resumed_once_it_is_right(tmp_path: Path, name: str) -> None:
    wrong = WRONG[name]
    async with idc(tmp_path, stored=wrong.stored, fault=wrong.fault) as archive:
        await archive.fetch()
        archive.server.buckets[BUCKET] = stored_by_key(MADE_UP)
        archive.server.fault = lambda _: None
        report = await resume_async(archive.mirror, archive=archive.choice(), settings=QUICK)
        assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
        archive.check()


async def test_surplus_keys_are_kept_and_said(tmp_path: Path) -> None:
    async with idc(tmp_path, stored=stored_with(EXTRA, Stored(EXTRA_ONE.content))) as archive:
        report = await archive.fetch()
        (failure,) = report.failures
        assert (report.outcome, failure.error) == (RunOutcome.PARTIAL, "differs-at-source")
        assert "lists 6 instances and counts 5" in failure.message
        archive.check([*MADE_UP, EXTRA_ONE])


async def test_two_objects_of_one_instance_are_both_kept(tmp_path: Path) -> None:
    twice = [*MADE_UP, ONE]
    objects = stored_with(EXTRA, Stored(OTHER))
    index = [*MADE_UP, replace(ONE, content=OTHER)]
    async with idc(tmp_path, index, stored=objects) as archive:
        report = await archive.fetch()
        assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, len(twice))
        found = sorted(archive.mirror.rglob(f"{ONE.sop_uid}.*dcm"))
        assert sorted(path.read_bytes() for path in found) == sorted([ONE.content, OTHER])
        assert (await verify_async(archive.mirror)).problems == ()
        again = await archive.fetch()
        assert (again.outcome, again.requests) == (RunOutcome.COMPLETE, 0)


@pytest.mark.parametrize(("status", "times", "made_up"), [(503, 2, FIRST), (429, 1, FIRST[:2])], ids=["503", "429"])
async def test_a_storm_of_refusals_ends_in_a_complete_mirror(
    tmp_path: Path, status: int, times: int, made_up: Sequence[MadeUp]
) -> None:
    def fault(seen: Seen) -> Action | None:
        return s3_error(status, "SlowDown", "Please reduce your request rate.") if seen.ordinal <= times else None

    async with idc(tmp_path, made_up, fault=fault) as archive:
        report = await archive.fetch(max_attempts=8)
        assert report.outcome is RunOutcome.COMPLETE
        assert report.retries >= times * len(made_up)
        archive.check(made_up)


async def test_tags_of_uploads_in_parts_are_compared_by_size(tmp_path: Path) -> None:
    tag = '"0123456789abcdef0123456789abcdef-2"'
    objects = {key: Stored(stored.content, tag) for key, stored in stored_by_key(MADE_UP).items()}
    async with idc(tmp_path, stored=objects) as archive:
        report = await archive.fetch()
        assert report.outcome is RunOutcome.COMPLETE
        archive.check()
        again = await archive.fetch()
        assert (again.outcome, again.requests) == (RunOutcome.COMPLETE, 0)


async def test_a_bucket_that_does_not_exist_ends_the_run(tmp_path: Path) -> None:
    async with idc(tmp_path) as archive:
        archive.server.buckets.clear()
        with pytest.raises(ArchiveUnreachable, match="NoSuchBucket"):
            await archive.fetch()


@pytest.mark.parametrize("what", ["lists", "objects"])
async def test_a_bucket_that_refuses_everything_ends_the_run(tmp_path: Path, what: str) -> None:
    def fault(seen: Seen) -> Action | None:
        is_list = "list-type" in seen.query
        return s3_error(403, "AccessDenied", "Access Denied") if is_list == (what == "lists") else None

    async with idc(tmp_path, fault=fault) as archive:
        with pytest.raises(ArchiveRefused, match="AccessDenied"):
            await archive.fetch()


@pytest.mark.parametrize("changes", ["bytes", "bytes and list"])
async def test_an_object_that_changes_while_it_is_resumed_is_never_mixed(tmp_path: Path, changes: str) -> None:
    (before,) = instances(series=1, per_series=1, rows=2_000, seed="large")
    after = replace(before, content=before.content.replace(b"CHEST", b"KNEE "))
    is_changed = False

    def fault(seen: Seen) -> Action | None:
        nonlocal is_changed
        if "list-type" in seen.query or is_changed:
            return None
        if seen.number > 6:
            is_changed = True
            archive.server.buckets[BUCKET] = stored_by_key([after])
            return None
        return part_of(Stored(before.content), seen, cut_after=700_000)

    async with idc(tmp_path, [before], fault=fault) as archive:
        report = await archive.fetch(parallel_above_bytes=4 << 20)
        (failure,) = report.failures
        assert failure.error in {"unexpected-answer", "checksum-mismatch"}
        assert checksums_on_disk(archive.mirror) == {}
        if changes == "bytes and list":
            report = await resume_async(archive.mirror, archive=archive.choice(), settings=QUICK)
            assert report.outcome is RunOutcome.COMPLETE
            archive.check([after])


async def test_damage_is_repaired_and_a_lost_journal_rebuilt_without_a_download(tmp_path: Path) -> None:
    async with idc(tmp_path) as archive:
        await archive.fetch()
        for path in (archive.mirror / ".bulkdl").glob("journal.sqlite*"):
            path.unlink()
        await adopt_async(archive.mirror, archive=archive.choice(), rebuild=True)
        before = len(archive.server.gets)
        report = await archive.fetch()
        assert (report.outcome, len(archive.server.gets)) == (RunOutcome.COMPLETE, before)
        archive.check()
        path = archive.mirror / next(iter(checksums_of(MADE_UP)))
        path.write_bytes(b"damaged")
        repaired = await verify_async(archive.mirror, repair=True, archive=archive.choice(), settings=QUICK)
        assert repaired.repair is not None
        assert (repaired.repair.outcome, len(archive.server.gets)) == (RunOutcome.COMPLETE, before + 1)
        archive.check()


async def test_verify_remote_names_what_the_bucket_has_otherwise(tmp_path: Path) -> None:
    async with idc(tmp_path) as archive:
        await archive.fetch()
        archive.server.buckets[BUCKET] = stored_with(key_of(ONE), Stored(OTHER))
        report = await verify_async(archive.mirror, quick=True, remote=True, archive=archive.choice(), settings=QUICK)
        (problem,) = report.problems
        assert (problem.problem, problem.series) == (ProblemKind.DIFFERS, ONE.series_uid)
        assert problem.message == (
            f"1 objects there are not here, {BUCKET}/{key_of(ONE)} the first, 1 files here are not there"
        )
        archive.server.buckets[BUCKET] = {}
        report = await verify_async(archive.mirror, quick=True, remote=True, archive=archive.choice(), settings=QUICK)
        assert {each.message for each in report.problems} == {"the archive no longer has the series"}


@pytest.mark.parametrize("verb", ["mirror", "sync"])
async def test_a_series_that_was_revised_gets_only_what_changed(tmp_path: Path, verb: str) -> None:
    """A revised Series has a new folder with all its instances: those that did not change are not downloaded again."""
    revised = [replace(one, content=OTHER) if one is ONE else one for one in MADE_UP]
    async with idc(tmp_path) as archive:
        await archive.fetch()
        moved = {f"{uuid_of('moved')}/{key_of(one).partition('/')[2]}": Stored(one.content) for one in revised[:5]}
        archive.server.buckets[BUCKET].update(moved)
        rows = rows_of(revised, series_revised_idc_version=26)
        (row,) = [row for row in rows if row["SeriesInstanceUID"] == ONE.series_uid]
        row["crdc_series_uuid"] = uuid_of("moved")
        write_index(tmp_path / "index", rows, names={"made_up": "MADE-UP"})
        before = len(archive.server.gets)
        if verb == "mirror":
            report = await archive.fetch()
        else:
            report = await sync_async(archive.mirror, archive=archive.choice(), settings=QUICK)
            assert report.changes is not None
            assert (report.changes.replaced_instances, report.changes.withdrawn_instances) == (1, 0)
        assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
        assert len(archive.server.gets) == before + 1
        archive.check(revised)
        (kept,) = (archive.mirror / ".bulkdl" / "superseded").rglob("*.dcm")
        assert kept.read_bytes() == ONE.content
        assert (await verify_async(archive.mirror)).problems == ()


@pytest.mark.parametrize("layout", ["nbia-classic", "idc"])
async def test_in_another_layout_a_new_version_takes_the_place_of_the_old_one(tmp_path: Path, layout: str) -> None:
    revised = [replace(one, content=OTHER) if one is ONE else one for one in MADE_UP]
    async with idc(tmp_path) as archive:
        await archive.fetch(layout=layout)
        before = checksums_on_disk(archive.mirror)
        moved = {f"{uuid_of('moved')}/{key_of(one).partition('/')[2]}": Stored(one.content) for one in revised[:5]}
        archive.server.buckets[BUCKET].update(moved)
        rows = rows_of(revised, series_revised_idc_version=26)
        (row,) = [row for row in rows if row["SeriesInstanceUID"] == ONE.series_uid]
        row["crdc_series_uuid"] = uuid_of("moved")
        write_index(tmp_path / "index", rows, names={"made_up": "MADE-UP"})
        report = await sync_async(archive.mirror, archive=archive.choice(), settings=QUICK)
        assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 1)
        after = checksums_on_disk(archive.mirror)
        assert after.keys() == before.keys()
        assert sorted(after.values()) == sorted(checksums_of(revised).values())
        assert journalled_checksums(archive.mirror) == after
        (kept,) = (archive.mirror / ".bulkdl" / "superseded").rglob("*.dcm")
        assert kept.read_bytes() == ONE.content


@pytest.mark.parametrize("layout", ["nbia-classic", "idc"])
async def test_in_another_layout_two_objects_of_one_instance_are_both_kept(tmp_path: Path, layout: str) -> None:
    async with idc(
        tmp_path, [*MADE_UP, replace(ONE, content=OTHER)], stored=stored_with(EXTRA, Stored(OTHER))
    ) as archive:
        report = await archive.fetch(layout=layout)
        assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, len(MADE_UP) + 1)
        found = checksums_on_disk(archive.mirror)
        assert len(found) == len(MADE_UP) + 1
        assert (await verify_async(archive.mirror)).problems == ()
        for other in ("bulkdl", layout):
            assert (await relayout_async(archive.mirror, layout=other)).outcome == RunOutcome.COMPLETE
            assert sorted(checksums_on_disk(archive.mirror).values()) == sorted(found.values())
            assert (await verify_async(archive.mirror)).problems == ()
            again = await archive.fetch()
            assert (again.outcome, again.instances.fetched, again.requests) == (RunOutcome.COMPLETE, 0, 0)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "failures"),
    [("right", 0, 0), ("missing key", 1, 1), ("everything refused", 3, 0), ("no bucket", 4, 0)],
)
async def test_the_exit_code_says_how_a_run_ended(tmp_path: Path, name: str, code: int, failures: int) -> None:
    refused = s3_error(403, "AccessDenied")
    stored = {"missing key": stored_with(key_of(ONE), None)}.get(name)
    async with idc(tmp_path, stored=stored, fault=lambda _: refused if code == 3 else None) as archive:
        if name == "no bucket":
            archive.server.buckets.clear()
        options = ("--archive", f"idc+{archive.url}", "--idc-index", tmp_path / "index", "--max-attempts", "2")
        done = await asyncio.to_thread(
            run, "mirror", "MADE-UP", *options, "--to", archive.mirror, "--yes", "--json", cache=tmp_path / "cache"
        )
        assert done.code == code, done.err
        if code < 3:
            document = json.loads(done.out)
            assert len(document["failures"]) == failures
