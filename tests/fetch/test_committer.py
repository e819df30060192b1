"""What becomes of a body: committed, quarantined or refused, by what its header, its list and its copies say."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.errors import ChecksumMismatch, InstanceError, InvalidAtSource, InvalidInstance, WrongAtSource, WrongObject
from bulkdl.fetch.committer import Committer, Received, Seen, invalid_at_source
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.fetch.targets import FileNames, Target
from bulkdl.fetch.threads import Threads
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import BESIDE, FileNaming, Outcome
from bulkdl.model.records import Entry, InstanceKey, Series
from bulkdl.model.settings import FetchSettings, ValidationLevel
from bulkdl.store.files import MirrorFiles
from tests.support.dicom_files import MadeUp, instances
from tests.support.dicom_samples import SERIES_UID, SOP_UID, encoded, image

ONE, OTHER = instances(series=1, per_series=2)
(OF_ANOTHER_SERIES,) = instances(series=1, per_series=1, seed="another series")
(LARGE,) = instances(series=1, per_series=1, rows=800, seed="large")
CUT = ONE.content[:-10]
DEFLATED = encoded(image(), DeflatedExplicitVRLittleEndian)
OF_DEFLATED = Target(SeriesUid(SERIES_UID), Entry(SOP_UID), "folder", None, SopInstanceUid(SOP_UID), FileNames(()))

Make = Callable[..., Committer]


class NotingDecoders(Decoders):
    """Counts the files that are decoded at once. It has no processes."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded = self.at_once = self.most_at_once = 0

    async def validate(self, source: bytes | Path, expected: InstanceKey | None) -> ValidationResult:
        self.decoded += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        for _ in range(20):
            await asyncio.sleep(0)
        self.at_once -= 1
        return validate(source, level=ValidationLevel.HEADER, expected=expected)


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders() as made:
        yield made


@pytest.fixture
async def make(files: MirrorFiles, threads: Threads, decoders: Decoders) -> Make:
    def make(*, accept_unsound: bool = False, level: ValidationLevel = ValidationLevel.STRUCTURE) -> Committer:
        settings = FetchSettings(validation=level, accept_unsound=accept_unsound)
        return Committer(files, threads, decoders, settings)

    return make


def target(
    one: MadeUp = ONE,
    *,
    listing: str = "uid",
    names: FileNames | None = None,
    size_bytes: int | None = None,
    md5: bytes | None = None,
) -> Target:
    """The target of an entry that is listed by its UID, or by a key alone."""
    key, uid, name = f"k/{one.sop_uid}", None, None
    if listing == "uid":
        key, uid, name = one.sop_uid, one.sop_uid, f"{one.sop_uid}.dcm"
    entry = Entry(key, uid, size_bytes, md5)
    return Target(SeriesUid(one.series_uid), entry, "folder", name, uid, names or FileNames(()))


def received(content: bytes, name: str = "one.part") -> Received:
    return Received(content, name)


def in_file(files: MirrorFiles, content: bytes, name: str = "one.part") -> Received:
    files.partials.write(name, content)
    return Received(files.partials.path(name), name)


def md5_of(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def quarantined(files: MirrorFiles) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(files.quarantine.folder.glob("*.json"))]


def committed(files: MirrorFiles) -> dict[str, bytes]:
    folder = files.root / "folder"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


@pytest.mark.parametrize("listing", ["uid", "key"])
@pytest.mark.parametrize("one", [ONE, LARGE], ids=["small", "large"])
async def test_a_valid_body_is_committed_under_its_uid(
    make: Make, files: MirrorFiles, one: MadeUp, listing: str
) -> None:
    outcome = await make().take(received(one.content), target(one, listing=listing), Seen())
    assert outcome.outcome is Outcome.FETCHED
    assert (outcome.sop_uid, outcome.key) == (one.sop_uid, target(one, listing=listing).entry.key)
    assert outcome.sha256 == hashlib.sha256(one.content).digest()
    assert outcome.transfer_syntax_uid == ExplicitVRLittleEndian
    assert committed(files) == {f"{one.sop_uid}.dcm": one.content}
    assert list(files.partials.folder.iterdir()) == []


@pytest.mark.parametrize("level", list(ValidationLevel))
async def test_every_level_commits_a_valid_body(make: Make, files: MirrorFiles, level: ValidationLevel) -> None:
    await make(level=level).take(received(ONE.content), target(listing="key"), Seen())
    assert committed(files) == {f"{ONE.sop_uid}.dcm": ONE.content}


async def test_a_file_that_was_streamed_is_committed_where_it_lies(make: Make, files: MirrorFiles) -> None:
    body = in_file(files, LARGE.content)
    digests = (await make().check(received(LARGE.content, "other.part"), target(LARGE), Seen())).digests
    outcome = await make().take(Received(body.source, body.partial, digests), target(LARGE), Seen())
    assert outcome.size_bytes == len(LARGE.content)
    assert committed(files) == {f"{LARGE.sop_uid}.dcm": LARGE.content}


@pytest.mark.parametrize("source", ["bytes", "file"])
@pytest.mark.parametrize(("content", "most_at_once"), [(DEFLATED, 1), (encoded(image()), 3)], ids=["deflated", "plain"])
async def test_files_that_may_need_far_more_memory_than_their_size_are_decoded_one_by_one(
    files: MirrorFiles, threads: Threads, content: bytes, source: str, most_at_once: int
) -> None:
    decoders = NotingDecoders()
    committer = Committer(files, threads, decoders, FetchSettings(validation=ValidationLevel.PIXELS))
    bodies = [in_file(files, content, f"{n}.part") if source == "file" else received(content) for n in range(3)]
    await asyncio.gather(*(committer.check(body, OF_DEFLATED, Seen()) for body in bodies))
    assert (decoders.decoded, decoders.most_at_once) == (3, most_at_once)


async def test_a_deflated_body_is_read_in_a_thread(make: Make, files: MirrorFiles) -> None:
    """Even where it has few bytes: they may become many. The thread writes it, too."""
    assert (await make().check(received(DEFLATED), OF_DEFLATED, Seen())).content is None
    assert files.partials.path("one.part").read_bytes() == DEFLATED


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (CUT, InvalidInstance),
        (OTHER.content, WrongObject),
        (OF_ANOTHER_SERIES.content, WrongObject),
        (b"x" * 500, InvalidInstance),
    ],
    ids=["cut", "another-instance", "another-series", "no-dicom"],
)
async def test_an_invalid_body_is_quarantined(
    make: Make, files: MirrorFiles, content: bytes, error: type[InstanceError]
) -> None:
    with pytest.raises(error):
        await make().take(received(content), target(), Seen())
    assert committed(files) == {}
    assert [(row["asked_for"], row["error"]) for row in quarantined(files)] == [(ONE.sop_uid, error.code)]


async def test_a_body_of_another_series_is_refused_where_only_the_key_is_known(make: Make, files: MirrorFiles) -> None:
    with pytest.raises(WrongObject):
        await make().take(received(OF_ANOTHER_SERIES.content), target(listing="key"), Seen())
    assert [row["asked_for"] for row in quarantined(files)] == [f"k/{ONE.sop_uid}"]


# --- what the list says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listing", ["uid", "key"])
async def test_the_listed_size_and_md5_are_compared(make: Make, listing: str) -> None:
    right = target(listing=listing, size_bytes=len(ONE.content), md5=md5_of(ONE.content))
    assert (await make().take(received(ONE.content), right, Seen())).outcome is Outcome.FETCHED
    for size_bytes, md5 in ((7, None), (None, b"0" * 16), (len(ONE.content), b"0" * 16)):
        wrong = target(listing=listing, size_bytes=size_bytes, md5=md5)
        with pytest.raises(ChecksumMismatch, match="the archive lists"):
            await make().take(received(ONE.content), wrong, Seen())


async def test_without_an_md5_to_compare_none_is_computed(make: Make) -> None:
    body = received(ONE.content)._replace(with_md5=False)
    assert (await make().take(body, target(), Seen())).md5 is None


async def test_a_listed_md5_is_compared_with_any_body(make: Make) -> None:
    body = received(ONE.content)._replace(with_md5=False)
    assert (await make().take(body, target(md5=md5_of(ONE.content)), Seen())).md5 == md5_of(ONE.content)
    with pytest.raises(ChecksumMismatch):
        await make().take(body, target(md5=b"0" * 16), Seen())


async def test_an_invalid_body_has_an_md5_that_the_archive_can_be_asked_for(make: Make) -> None:
    seen = Seen()
    with pytest.raises(InvalidInstance):
        await make().take(received(CUT)._replace(with_md5=False), target(), seen)
    assert seen.digests is not None
    assert seen.digests.md5 == md5_of(CUT)


async def test_an_invalid_body_with_the_listed_md5_is_the_archives_own(make: Make) -> None:
    with pytest.raises(InvalidAtSource):
        await make().take(received(CUT), target(md5=md5_of(CUT)), Seen())


async def test_the_same_invalid_bytes_twice_are_the_archives_own(make: Make) -> None:
    seen = Seen()
    with pytest.raises(InvalidInstance):
        await make().take(received(CUT), target(), seen)
    with pytest.raises(InvalidAtSource):
        await make().take(received(CUT), target(), seen)


@pytest.mark.parametrize("listing", ["uid", "key"])
async def test_an_accepted_invalid_file_has_a_note(make: Make, files: MirrorFiles, listing: str) -> None:
    seen = Seen()
    committer = make(accept_unsound=True)
    with pytest.raises(InvalidInstance):
        await committer.take(received(CUT), target(listing=listing), seen)
    outcome = await committer.take(received(CUT), target(listing=listing), seen)
    assert outcome.notes[0].startswith(f"{InvalidInstance.code}: ")
    assert committed(files) == {f"{ONE.sop_uid}.dcm": CUT}


@pytest.mark.parametrize(
    "content", [b"x" * 500, OF_ANOTHER_SERIES.content[:-10]], ids=["no header", "the header of another Series"]
)
async def test_accepting_invalid_files_cannot_store_one_without_a_readable_uid(
    make: Make, files: MirrorFiles, content: bytes
) -> None:
    seen = Seen()
    committer = make(accept_unsound=True)
    with pytest.raises(InvalidInstance):
        await committer.take(received(content), target(listing="key"), seen)
    with pytest.raises(InvalidAtSource):
        await committer.take(received(content), target(listing="key"), seen)
    assert committed(files) == {}


async def test_an_accepted_file_without_a_header_has_the_usual_name(make: Make, files: MirrorFiles) -> None:
    """Where the layout makes the name of a number that is in the header."""
    series = Series(series_uid=SeriesUid(ONE.series_uid), collection="C", patient_id="P")
    naming = FileNaming("{Collection}/{InstanceNumber}-{SOPInstanceUID}.dcm", series)
    named = target()._replace(name=None, naming=naming)
    committer, seen, content = make(accept_unsound=True), Seen(), b"x" * 500
    with pytest.raises(InvalidInstance):
        await committer.take(received(content), named, seen)
    outcome = await committer.take(received(content), named, seen)
    assert outcome.sop_uid == ONE.sop_uid
    assert list(committed(files).values()) == [content]


async def put_in_quarantine(committer: Committer, *, is_at_source: bool) -> None:
    """The invalid file of an entry, which the archive holds so or not."""
    with pytest.raises(InvalidInstance) as caught:
        await committer.take(received(CUT), target(), Seen())
    if is_at_source:
        await committer.confirm(target(), invalid_at_source(caught.value))


async def test_what_is_invalid_at_the_archive_is_accepted_from_quarantine(
    make: Make, files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = list[int](), os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    committer = make(accept_unsound=True)
    await put_in_quarantine(committer, is_at_source=True)
    assert [note["error"] for note in quarantined(files)] == [InvalidAtSource.code]
    monkeypatch.setattr(os, "fsync", noting)
    outcome = await committer.adopt_quarantined(target())
    assert outcome is not None
    assert (outcome.outcome, outcome.sop_uid, len(outcome.notes)) == (Outcome.REUSED, ONE.sop_uid, 1)
    assert committed(files) == {f"{ONE.sop_uid}.dcm": CUT}
    assert len(CUT) in synced  # quarantine does not sync
    assert list(files.quarantine.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("is_at_source", "md5"), [(False, None), (True, md5_of(ONE.content))], ids=["damaged on the way", "replaced since"]
)
async def test_other_files_stay_in_quarantine(
    make: Make, files: MirrorFiles, *, is_at_source: bool, md5: bytes
) -> None:
    committer = make(accept_unsound=True)
    await put_in_quarantine(committer, is_at_source=is_at_source)
    assert await committer.adopt_quarantined(target(md5=md5)) is None
    assert committed(files) == {}
    assert len(quarantined(files)) == 1


# --- several entries with one UID -------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["bytes", "file"])
@pytest.mark.parametrize("bytes_are", ["the same", "other"])
async def test_a_second_entry_with_the_same_uid_is_kept_beside_the_first(
    make: Make, files: MirrorFiles, source: str, bytes_are: str
) -> None:
    other = ONE.content.replace(b"PATIENT^00000000", b"ANOTHER^00000000") if bytes_are == "other" else ONE.content
    names = FileNames(())
    committer = make()
    await committer.take(received(ONE.content), target(listing="key", names=names), Seen())
    body = in_file(files, other) if source == "file" else received(other)
    again = await committer.take(body, target(listing="key", names=names), Seen())
    assert (again.outcome, again.sop_uid, again.notes) == (Outcome.FETCHED, ONE.sop_uid, (f"{BESIDE} {ONE.sop_uid}",))
    assert committed(files) == {f"{ONE.sop_uid}.dcm": ONE.content, again.name: other}
    assert quarantined(files) == []


@pytest.mark.parametrize("bytes_are", ["listed", "not listed"])
async def test_another_object_than_the_listed_series_has_is_final_if_its_bytes_are_listed(
    make: Make, bytes_are: str
) -> None:
    digest = hashlib.md5(ONE.content, usedforsecurity=False).digest() if bytes_are == "listed" else None
    foreign = target(listing="key")._replace(entry=Entry("key", md5=digest), study_uid="1.2.3")
    kind = WrongAtSource if bytes_are == "listed" else WrongObject
    with pytest.raises(WrongObject, match="Study Instance UID") as caught:
        await make().take(received(ONE.content), foreign, Seen())
    assert type(caught.value) is kind


async def test_the_file_of_an_entry_without_a_key_is_replaced(make: Make, files: MirrorFiles) -> None:
    """It was adopted, or a run died before it was journalled: no entry owns its name."""
    (files.root / "folder").mkdir()
    (files.root / "folder" / f"{ONE.sop_uid}.dcm").write_bytes(b"earlier")
    await make().take(received(ONE.content), target(listing="key"), Seen())
    assert committed(files) == {f"{ONE.sop_uid}.dcm": ONE.content}


async def test_the_file_of_an_instance_that_was_replaced_is_put_aside(make: Make, files: MirrorFiles) -> None:
    (files.root / "folder").mkdir()
    (files.root / "folder" / f"{ONE.sop_uid}.dcm").write_bytes(b"earlier")
    names = FileNames(())
    names.lying = frozenset({f"{ONE.sop_uid}.dcm"})
    await make().take(received(ONE.content), target(listing="key", names=names), Seen())
    assert committed(files) == {f"{ONE.sop_uid}.dcm": ONE.content}
    (kept,) = (files.root / ".bulkdl" / "superseded").rglob("*.dcm")
    assert kept.read_bytes() == b"earlier"


# --- bundles and adoption ---------------------------------------------------------------------------------------------


async def test_staged_bodies_get_their_names_together(make: Make, files: MirrorFiles) -> None:
    committer = make()
    staged = []
    for number, one in enumerate((ONE, OTHER)):
        checked = await committer.check(received(one.content, f"{number}.part"), None, Seen())
        writing = committer.stage(checked)
        assert writing is not None
        await writing
        staged.append((checked, target(one)))
    assert committed(files) == {}
    outcomes = await committer.commit(staged, attempts=2)
    assert [(outcome.sop_uid, outcome.attempts) for outcome in outcomes] == [(ONE.sop_uid, 2), (OTHER.sop_uid, 2)]
    assert committed(files) == {f"{one.sop_uid}.dcm": one.content for one in (ONE, OTHER)}


async def test_a_file_in_place_is_adopted(make: Make, files: MirrorFiles) -> None:
    path = files.root / "folder" / f"{ONE.sop_uid}.dcm"
    path.parent.mkdir()
    path.write_bytes(ONE.content)
    outcome = await make().adopt(target())
    assert outcome is not None
    assert (outcome.outcome, outcome.mtime_ns) == (Outcome.REUSED, path.stat().st_mtime_ns)


async def test_the_pixels_of_a_file_in_place_are_decoded_apart(files: MirrorFiles, threads: Threads) -> None:
    """A decoder that crashes ends its own process."""
    (files.root / "folder").mkdir()
    (files.root / "folder" / f"{ONE.sop_uid}.dcm").write_bytes(ONE.content)
    decoders = NotingDecoders()
    committer = Committer(files, threads, decoders, FetchSettings(validation=ValidationLevel.PIXELS))
    assert await committer.adopt(target()) is not None
    assert decoders.decoded == 1


async def test_a_body_that_is_not_needed_leaves_no_file(make: Make, files: MirrorFiles) -> None:
    committer = make()
    for one in (ONE, LARGE):
        checked = await committer.check(received(one.content), target(one), Seen())
        await committer.discard(checked)
        assert list(files.partials.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "md5"), [(CUT, None), (OTHER.content, None), (ONE.content, b"0" * 16)], ids=["cut", "other", "md5"]
)
async def test_a_file_in_place_that_is_not_the_instance_is_quarantined(
    make: Make, files: MirrorFiles, content: bytes, md5: bytes | None
) -> None:
    (files.root / "folder").mkdir()
    (files.root / "folder" / f"{ONE.sop_uid}.dcm").write_bytes(content)
    assert await make().adopt(target(md5=md5)) is None
    assert committed(files) == {}
    assert len(quarantined(files)) == 1


async def test_a_file_that_is_not_in_place_is_not_adopted(make: Make) -> None:
    assert await make().adopt(target()) is None
