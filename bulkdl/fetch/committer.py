"""Decide what becomes of a complete body: validate it, compare its checksums, then commit it or quarantine it.

`store.commit` states the order of durability. An invalid file goes to quarantine, never to a final name.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial as partial_function
from pathlib import Path
from typing import Final, NamedTuple, Self

from bulkdl.dicom.header import read_header
from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.errors import (
    ChecksumMismatch,
    InstanceError,
    InvalidAtSource,
    InvalidInstance,
    WrongAtSource,
    WrongObject,
)
from bulkdl.fetch.digests import Digests, digests_of_file, digests_of_source
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.fetch.plain_files import PlainFileValidator
from bulkdl.fetch.targets import Target
from bulkdl.fetch.threads import Threads
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import BESIDE, InstanceOutcome, Outcome
from bulkdl.model.preamble import HEAD_BYTES, may_inflate
from bulkdl.model.records import Entry, InstanceKey
from bulkdl.model.settings import FetchSettings, ValidationLevel
from bulkdl.model.text import one_line
from bulkdl.runtime.disk import disk_errors, sync_file
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import InstanceNumbers, parse_layout
from bulkdl.store.partials import partial_name
from bulkdl.store.writing import GroupWriter

# Smaller bodies are validated and hashed on the event loop: threads would only compete for the interpreter lock
# (measured: 900 instances a second with threads, 1,390 without). Hashing larger ones releases the lock long enough.
INLINE_BYTES: Final = 1024 * 1024


class Received(NamedTuple):
    """A complete body: its bytes, or the file that has them, synced.

    `partial` is the name of its partial file, which bytes are still to be written to. `digests` are known of a body
    that was hashed while it was received. `tag` is what identifies it at the archive, if anything does. `with_md5`:
    the journal is to have its MD5, because the archive knows MD5s.
    """

    source: bytes | Path
    partial: str
    digests: Digests | None = None
    tag: str | None = None
    with_md5: bool = True


class Checked(NamedTuple):
    """A body that may be committed. `content` is None where the partial file has it, synced.

    `series_uid` is None for an invalid body that is accepted; `sop_uid` is that of its header or its target.
    """

    partial: str
    content: bytes | None
    digests: Digests
    sop_uid: SopInstanceUid
    series_uid: SeriesUid | None
    transfer_syntax_uid: str | None
    notes: tuple[str, ...]
    sop_class_uid: str | None = None

    def staged(self, target: Target) -> Self:
        """The same without its content, which the partial file has, and with the texts of its target.

        A bundle may have a GiB, and thousands of instances.
        """
        sop_uid = self.sop_uid if target.sop_uid is None else target.sop_uid
        return self._replace(content=None, sop_uid=sop_uid, series_uid=target.series_uid)


@dataclass(slots=True)
class Seen:
    """The last invalid body of one instance, None before the first: the same bytes twice are the archive's own."""

    digests: Digests | None = None


class Committer:
    """Commits instances to one mirror, with the validation that `settings` ask for.

    A method that cannot write the mirror raises DiskError; a later run adopts what was renamed by then.
    """

    def __init__(
        self,
        files: MirrorFiles,
        threads: Threads,
        decoders: Decoders,
        settings: FetchSettings,
        run_id: int = 0,
        *,
        plain: PlainFileValidator | None = None,
    ) -> None:
        self._run_id = run_id
        self._files = files
        self._threads = threads
        self._decoders = decoders
        self._plain = plain or PlainFileValidator(settings.validation)
        self._level = settings.validation
        self.accepts_unsound = settings.accept_unsound
        self._writer = GroupWriter(files, threads)
        self._inflating = asyncio.Lock()  # one body at a time may take far more memory than it has bytes
        self.validated = 0  # bodies, valid or not

    async def take(self, received: Received, target: Target, seen: Seen, *, attempts: int = 1) -> InstanceOutcome:
        """Commit a body at its target, which took so many `attempts`.

        InstanceError: it cannot be stored, and is in quarantine.
        """
        checked = await self.check(received, target, seen)
        bound = await self._place(checked, target)
        mtime_ns = await self._writer.write(checked.partial, checked.content, bound.path)
        return _held(bound, checked, mtime_ns, Outcome.FETCHED, attempts)

    async def _place(self, checked: Checked, target: Target) -> Target:
        """The target with a file name, claimed. What lies there is the file of an earlier version: it is superseded."""
        if target.name is not None:
            return target.placed(checked.sop_uid)
        numbers = None
        if target.naming is not None:
            partial = self._files.partials.path(checked.partial)
            read = partial_function(_numbers, checked.content or partial, target, checked.sop_uid)
            is_small = checked.content is not None and len(checked.content) <= INLINE_BYTES
            numbers = read() if is_small else await self._threads(read)
        bound = target.placed(checked.sop_uid, numbers)
        if bound.name in bound.names.lying:
            await self._threads(self._files.supersede, bound.path, self._run_id)
        return bound

    async def check(self, received: Received, target: Target | None, seen: Seen) -> Checked:
        """Decide whether a body may be committed; without `target` as any instance. InstanceError: quarantined."""
        if target is not None and target.is_plain:
            found = await self._validate_plain(received.source, target)
            return await self._threads(self._check_in_thread, received, target, seen, found)
        if not source_may_inflate(received.source):
            return await self._check_now(received, target, seen)
        async with self._inflating:
            return await self._check_now(received, target, seen)

    async def _check_now(self, received: Received, target: Target | None, seen: Seen) -> Checked:
        source = received.source
        if self._level is ValidationLevel.PIXELS:
            return await self._threads(
                self._check_in_thread, received, target, seen, await self._decode(source, target)
            )
        if isinstance(source, bytes) and len(source) <= INLINE_BYTES and not self._inflating.locked():
            return self._check(received, target, seen, self._validate(source, target))
        return await self._threads(self._check_in_thread, received, target, seen, None)

    def stage(self, checked: Checked) -> asyncio.Future[int] | None:
        """Write the partial file of a checked body, synced, beside others; None if that is done already."""
        if checked.content is None:
            return None
        return self._writer.write(checked.partial, checked.content, None)

    async def commit(self, staged: Sequence[tuple[Checked, Target]], *, attempts: int) -> list[InstanceOutcome]:
        """Commit checked bodies of one Series whose partial files are written; they took so many `attempts`."""
        placed = [(checked, await self._place(checked, target)) for checked, target in staged]
        mtimes_ns = await self._writer.commit([(checked.partial, target.path) for checked, target in placed])
        return [
            _held(target, checked, mtime_ns, Outcome.FETCHED, attempts)
            for (checked, target), mtime_ns in zip(placed, mtimes_ns, strict=True)
        ]

    async def adopt(self, target: Target) -> InstanceOutcome | None:
        """Take over a file at its target that a crash left unjournalled; None if it is invalid, and quarantined."""
        path = self._files.absolute(target.path)
        try:
            found: ValidationResult | InstanceError | None = None
            if target.is_plain:
                found = await self._validate_plain(path, target)
            elif self._level is ValidationLevel.PIXELS:
                found = await self._decode(path, target)
            checked = await self._threads(self._check_in_thread, Received(path, ""), target, Seen(), found)
            mtime_ns = await self._writer.adopt(target.path)
        except (InstanceError, OSError):
            return None
        return _held(target.placed(checked.sop_uid), checked, mtime_ns, Outcome.REUSED)

    async def adopt_quarantined(self, target: Target) -> InstanceOutcome | None:
        """Commit what lies in quarantine as invalid at the archive itself; None if there is nothing of the kind."""
        partial = partial_name(target.series_uid, target.entry.key)
        checked = await self._threads(self._take_quarantined, target, partial)
        if checked is None:
            return None
        bound = await self._place(checked, target)
        mtime_ns = await self._writer.write(partial, None, bound.path)
        return _held(bound, checked, mtime_ns, Outcome.REUSED)

    def _take_quarantined(self, target: Target, partial: str) -> Checked | None:
        if target.sop_uid is None or (found := self._files.quarantine.latest(target.sop_uid)) is None:
            return None
        path, details = found
        digests = digests_of_file(path)
        if details.get("error") != InvalidAtSource.code or listed_otherwise(target.entry, digests) is not None:
            return None
        place = self._files.partials.path(partial)
        with disk_errors("take from quarantine", path):
            path.replace(place)
            sync_file(place)
            path.with_suffix(".json").unlink(missing_ok=True)
        note = f"{InvalidInstance.code}: {one_line(str(details.get('message')))}"
        return Checked(partial, None, digests, target.sop_uid, None, None, (note,))

    async def confirm(self, target: Target, error: InvalidAtSource) -> None:
        """Note that the last invalid file of an entry is what the archive holds."""
        name = target.sop_uid or target.entry.key
        if (found := await self._threads(self._files.quarantine.latest, name)) is not None:
            path, details = found
            details |= {"error": error.code, "message": str(error)}
            await self._threads(self._files.quarantine.renew, path, details)

    async def quarantine(self, checked: Checked, error: InstanceError) -> None:
        """Quarantine a body after all."""
        source = checked.content if checked.content is not None else self._files.partials.path(checked.partial)
        await self._threads(self._quarantine, source, checked.sop_uid, error)

    async def md5_of(self, checked: Checked) -> bytes | None:
        """The MD5 of a body, computed now if it was not yet."""
        if checked.digests.md5 is not None:
            return checked.digests.md5
        source = checked.content if checked.content is not None else self._files.partials.path(checked.partial)
        return (await self._threads(digests_of_source, source)).md5

    async def discard(self, checked: Checked) -> None:
        """Remove what was written of a body that is not needed."""
        if checked.content is None:
            await self._threads(self._files.partials.path(checked.partial).unlink)

    def _validate(self, source: bytes | Path, target: Target | None) -> ValidationResult | InstanceError:
        self.validated += 1
        try:
            return _of_series(validate(source, level=self._level, expected=_expected(target)), target)
        except InstanceError as error:
            return error

    async def _decode(self, source: bytes | Path, target: Target | None) -> ValidationResult | InstanceError:
        self.validated += 1
        try:
            return _of_series(await self._decoders.validate(source, _expected(target)), target)
        except InstanceError as error:
            return error

    async def _validate_plain(self, source: bytes | Path, target: Target) -> ValidationResult | InstanceError:
        self.validated += 1
        return await self._plain.validate(source, target)

    def _check_in_thread(
        self, received: Received, target: Target | None, seen: Seen, found: ValidationResult | InstanceError | None
    ) -> Checked:
        checked = self._check(received, target, seen, found or self._validate(received.source, target))
        if checked.content is None:
            return checked
        self._files.partials.write(checked.partial, checked.content)
        return checked._replace(content=None)

    def _check(
        self, received: Received, target: Target | None, seen: Seen, found: ValidationResult | InstanceError
    ) -> Checked:
        source = received.source
        content = source if isinstance(source, bytes) else None
        entry = target.entry if target is not None else None
        listed_md5 = entry.md5 if entry is not None else None
        digests = received.digests or digests_of_source(source, with_md5=received.with_md5 or listed_md5 is not None)
        found = listed_otherwise(entry, digests) or found
        if isinstance(found, ValidationResult):
            syntax, sop_class = map(sys.intern, (found.transfer_syntax_uid, found.sop_class_uid or ""))  # there are few
            uids = found.sop_uid, found.series_uid, syntax
            return Checked(received.partial, content, digests, *uids, found.notes, sop_class)
        if digests.md5 is None:
            digests = digests_of_source(source)  # the archive may be asked whether it holds these bytes
        is_same, seen.digests = seen.digests == digests, digests
        if isinstance(found, InvalidInstance) and (is_same or digests.md5 == listed_md5):
            if self.accepts_unsound and (sop_uid := _readable_uid(source, target)) is not None:
                note = f"{InvalidInstance.code}: {found}"
                return Checked(received.partial, content, digests, sop_uid, None, None, (note,))
            found = invalid_at_source(found)
        elif isinstance(found, WrongObject) and digests.md5 == listed_md5:
            found = WrongAtSource(f"{found}; the archive lists these bytes")
        self._quarantine(source, (target.sop_uid or target.entry.key) if target is not None else None, found)
        raise found

    def _quarantine(self, source: bytes | Path, name: str | None, error: InstanceError) -> None:
        details = {"asked_for": name, "error": error.code, "message": str(error)}
        self._files.quarantine.keep(source, sop_uid=name, details=details)


def invalid_at_source(error: InvalidInstance) -> InvalidAtSource:
    """The same finding, on bytes that are the archive's own."""
    return InvalidAtSource(f"the archive holds these invalid bytes: {error} (--accept-unsound stores them)")


def md5_mismatch(md5: bytes | None, listed: bytes) -> ChecksumMismatch | None:
    """How the MD5 of a body differs from the one of the archive."""
    if md5 == listed:
        return None
    return ChecksumMismatch(f"the MD5 is {(md5 or b'').hex()}, but the archive lists {listed.hex()}")


def listed_otherwise(entry: Entry | None, digests: Digests) -> ChecksumMismatch | None:
    """How a body differs from what the archive lists."""
    if entry is None:
        return None
    if entry.size_bytes is not None and entry.size_bytes != digests.size_bytes:
        return ChecksumMismatch(f"{digests.size_bytes:,} bytes, but the archive lists {entry.size_bytes:,}")
    return None if entry.md5 is None else md5_mismatch(digests.md5, entry.md5)


def _numbers(source: bytes | Path, target: Target, sop_uid: SopInstanceUid) -> InstanceNumbers:
    """What the file name is made of; without numbers where the header of an accepted file cannot be read."""
    key = target.entry.key
    if target.naming is None or not parse_layout(target.naming.template).reads_header:
        return InstanceNumbers(sop_uid, key)
    with suppress(InstanceError):
        header = read_header(source)
        return InstanceNumbers(sop_uid, key, header.instance_number, header.acquisition_number)
    return InstanceNumbers(sop_uid, key)


def source_may_inflate(source: bytes | Path) -> bool:
    """Whether an instance, given as its bytes or as a file, may take far more memory than it has bytes."""
    if isinstance(source, bytes):
        return may_inflate(source)
    with source.open("rb") as file:
        return may_inflate(file.read(HEAD_BYTES + 1024))


def _expected(target: Target | None) -> InstanceKey | None:
    return target.expected if target is not None else None


def _of_series(found: ValidationResult, target: Target | None) -> ValidationResult:
    if target is not None and found.series_uid != target.series_uid:
        raise WrongObject(f"Series Instance UID {found.series_uid}, requested was {target.series_uid}")
    if target is not None and target.study_uid is not None and found.study_uid != target.study_uid:
        raise WrongObject(f"Study Instance UID {found.study_uid}, that of the series is {target.study_uid}")
    return found


def _readable_uid(source: bytes | Path, target: Target | None) -> SopInstanceUid | None:
    """The UID to store an invalid body under: that of its target, or of its header if that is readable."""
    if target is None:
        return None
    if target.sop_uid is not None:
        return target.sop_uid
    with suppress(InstanceError):
        return _of_series(validate(source, level=ValidationLevel.HEADER), target).sop_uid
    return None


def _held(target: Target, checked: Checked, mtime_ns: int, outcome: Outcome, attempts: int = 0) -> InstanceOutcome:
    digests = checked.digests
    return InstanceOutcome(
        series_uid=target.series_uid,
        key=target.entry.key,
        sop_uid=target.sop_uid,
        outcome=outcome,
        attempts=attempts,
        size_bytes=digests.size_bytes,
        md5=digests.md5,
        sha256=digests.sha256,
        mtime_ns=mtime_ns,
        transfer_syntax_uid=checked.transfer_syntax_uid or None,
        sop_class_uid=checked.sop_class_uid or None,
        notes=(*checked.notes, f"{BESIDE} {target.sop_uid}") if target.is_beside else checked.notes,
        name=target.special_name,
    )
