"""`manifest_lock`: write a lock of what a mirror holds, or of what an archive says of a selection.

An archive is asked for lists alone, and for checksums that take one request each; no file is downloaded. What it does
not state is not in the lock, unless a mirror beside it knows the SHA-256 of the same instances.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, TextIO

from bulkdl.archive.base import Archive
from bulkdl.errors import JournalUnreadable, NotFound, SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance, SeriesRow
from bulkdl.manifest.locked import LockedGroup, LockedInstance, LockedSeries, LockTotals, Proof, lock_lines
from bulkdl.model.access import DEFAULT_ARCHIVE, DEMOS, ArchiveChoice
from bulkdl.model.events import Sink, ignore
from bulkdl.model.formatting import counted
from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_uid
from bulkdl.model.options import Option, several
from bulkdl.model.records import Entry, Series
from bulkdl.model.reports.base import Failure
from bulkdl.model.reports.manifest import ManifestWritten
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.resolve.listing import finding, list_until_complete
from bulkdl.resolve.object_heads import identified
from bulkdl.resolve.resolution import Resolution, check_found, resolve
from bulkdl.runtime.disk import disk_errors, is_folder
from bulkdl.runtime.tasks import as_iterator, run_pool
from bulkdl.verbs.calls.announcer import Announcer
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Given, Paths
from bulkdl.verbs.connections.data_commons import choose_commons
from bulkdl.verbs.connections.open_archive import FIRST_ANSWER_SECONDS, open_archive
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.locks.holder import unproven
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.runs.options import context_of
from bulkdl.verbs.select import Wanted, choose_selection
from bulkdl.verbs.selections.data_set_names import resolve_data_sets
from bulkdl.verbs.selections.named_instances import find_series_of_instances

_AT_ONCE: Final = 64  # Series that are in memory together, with their instances
_LISTS_AT_ONCE: Final = 8
_CHECKSUMS_AT_ONCE: Final = 4  # of each of those Series
_ATTEMPTS_AT_A_CHECKSUM: Final = 3


async def manifest_lock_async(
    selection: Wanted,
    file: TextIO,
    *,
    mirror: Annotated[
        Paths | None, Option("mirror", "A mirror that knows the SHA-256 of what is selected.", "DIR", read=Path)
    ] = None,
    quick: Annotated[
        bool, Option("quick", "Do not ask for checksums that take one request for each instance.")
    ] = False,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
    **criteria: Given,
) -> ManifestWritten:
    """Write a lock to `file`: each instance with its size and checksums. Downloads nothing.

    The folder of a mirror as `selection` locks what it holds, with the SHA-256 of every file, and asks no archive.
    Another selection is resolved and listed: the lock has the sizes and MD5 that the archive states, and the SHA-256
    of the same instances in the other `mirror`.

    Raises:
        UserError: the selection or the archive's name is invalid, or nothing was found.
        ArchiveError, RequestFailed: the archive refused, could not be reached, or did not answer; nothing is written.
        JournalError: there is no mirror, or its journal cannot be read.
    """
    if (root := mirror_to_lock(selection)) is not None:
        if criteria or mirror is not None or not _is_alone(selection):
            raise SelectionError(f"the lock of the mirror {root} has all that it holds: leave out the other options")
        return await asyncio.to_thread(_lock_mirror, root, file, sink)
    wanted = choose_selection(selection, criteria, sink)
    context = context_of({"settings": settings, "sink": sink, "stop": stop})
    choice = choose_commons(wanted, choose_archive(archive), sink)
    known = Journal.open_readonly(require_mirror(Path(mirror))) if mirror is not None else nullcontext()
    with known as journal:
        async with open_archive(choice, context, first_answer_seconds=FIRST_ANSWER_SECONDS) as source:
            wanted = await resolve_data_sets(wanted, source.client, sink)
            wanted = await find_series_of_instances(wanted, source.client, sink)
            asking = _Locking(source.client, dict(wanted.instances), journal, asks_checksums=not quick, sink=sink)
            profile = source.settings.profile
            return await asking.lock(wanted, _archive_of(profile.name, profile.url), file)


manifest_lock = blocking(manifest_lock_async)


def mirror_to_lock(selection: Wanted) -> Path | None:
    """The folder that a selection names in place of a data set; None if it names none."""
    named = selection.data_sets if isinstance(selection, Selection) else several(selection or ())
    return next((Path(word) for word in named if is_folder(word)), None)


def _is_alone(selection: Wanted) -> bool:
    """Whether a selection is one word and nothing else."""
    if isinstance(selection, Selection):
        return replace(selection, data_sets=()) == Selection() and len(selection.data_sets) == 1
    return len(several(selection or ())) == 1


def _archive_of(name: str, url: str) -> str:
    """The archive as the head of a lock names it. The address of the demonstration is another one each time."""
    return name if name in DEMOS or url in ("", name) else f"{name} {url}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# --- of a mirror ------------------------------------------------------------------------------------------------------


def _lock_mirror(root: Path, file: TextIO, sink: Sink) -> ManifestWritten:
    with Journal.open_readonly(require_mirror(root)) as journal, journal.snapshot():
        last = journal.last_run()
        archive = _archive_of(last.archive_name, last.archive_url) if last else ""
        uids = sorted(row.series.series_uid for row in _held_series(journal))
        if not uids:
            raise JournalUnreadable(f"{root} holds no instance that could be locked")
        counts = _Counts()
        release = journal.last_catalogue() or ""
        groups = partial(_groups_of, journal, uids, counts)
        announcer, is_again = Announcer(sink, "lock", len(uids), "series"), False

        def announced() -> Iterator[LockedGroup]:
            nonlocal is_again
            for group in groups():  # the first time for the digest, which takes as long as the second one
                yield group
                if is_again:
                    announcer.step()
            is_again = True

        file.writelines(lock_lines(announced, archive=archive, date=_now(), release=release))
    left_out, instances = counts.left_out // 2, counts.instances // 2  # they are read twice
    notes = (f"{left_out:,} files are left out: their SOP Instance UID or SHA-256 is not in the journal",)
    return ManifestWritten(
        format="lock",
        series=len(uids),
        instances=instances,
        notes=notes if left_out else (),
        proofs={Proof.SHA256.value: instances},
    )


def digest_of_mirror(journal: Journal) -> str:
    """The SHA-256 that the lock of a mirror states: the same for the same instances, whenever it is written."""
    totals = LockTotals()
    for group in _groups_of(journal, sorted(row.series.series_uid for row in _held_series(journal)), _Counts()):
        totals.add(group)
    return totals.digest


@dataclass(slots=True)
class _Counts:
    instances: int = 0
    left_out: int = 0


def _held_series(journal: Journal) -> Iterator[SeriesRow]:
    return (row for row in journal.all_series() if row.held)


def _groups_of(journal: Journal, uids: Sequence[SeriesUid], counts: _Counts) -> Iterator[LockedGroup]:
    for uid in uids:
        if (row := journal.find_series(uid)) is None:
            continue
        instances = []
        for held in journal.held_of_series(uid):
            if held.sha256 is None or not is_uid(held.sop_uid):
                counts.left_out += 1
                continue
            key = held.entry.key if held.entry.key != held.sop_uid else None
            syntax = held.transfer_syntax_uid
            instances.append(LockedInstance(held.sop_uid, held.size_bytes, held.md5, held.sha256, syntax, key))
        counts.instances += len(instances)
        yield LockedSeries.of(row.series), instances


# --- of a selection ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Locking:
    """Asks an archive for what it has of a selection, and writes the lock of that."""

    client: Archive
    wanted: Mapping[SeriesUid, Sequence[SopInstanceUid]]
    journal: Journal | None
    asks_checksums: bool
    sink: Sink
    failures: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    async def lock(self, selection: Selection, archive: str, file: TextIO) -> ManifestWritten:
        """Write the lock, which needs its digest at its beginning: what follows is in a temporary file until then."""
        series, release = await self._resolve(selection)
        totals = LockTotals()
        with disk_errors("write", tempfile.gettempdir()), tempfile.TemporaryFile("w+", newline="") as body:
            uids, announcer = iter(sorted(series)), Announcer(self.sink, "lock", len(series), "series")
            while some := list(islice(uids, _AT_ONCE)):
                groups = await self._groups([series[uid] for uid in some])
                body.writelines(totals.add(group) for group in groups if group[1])
                announcer.step(len(some))
            if not totals.instances:
                raise SelectionError(f"nothing can be locked: {self._first_failure()}")
            body.seek(0)
            file.write(totals.head(archive=archive, date=_now(), release=release))
            await asyncio.to_thread(shutil.copyfileobj, body, file)
        return ManifestWritten(
            format="lock",
            series=totals.series,
            instances=totals.instances,
            notes=(*unproven(totals.weaker), *self._notes()),
            proofs={proof.value: count for proof, count in totals.proofs.items()},
            failures=tuple(self.failures),
        )

    def _first_failure(self) -> str:
        return self.failures[0].message if self.failures else "the archive lists no instance of the series"

    async def _resolve(self, selection: Selection) -> tuple[dict[SeriesUid, Series], str]:
        """The Series to lock, and the release of the index. Raises RequestFailed: a question was not answered."""
        found, series = Resolution(), dict[SeriesUid, Series]()
        async with aclosing(resolve(selection, self.client, found)) as batches:
            async for batch in batches:
                series |= {each.series_uid: each for each in batch.series}
        absent = await check_found(selection, found, self.client)
        self.failures += absent
        if found.failed:
            raise found.failed[0][1]
        return series, found.release or ""

    async def _groups(self, batch: Sequence[Series]) -> list[LockedGroup]:
        groups: dict[SeriesUid, LockedGroup] = {}

        async def ask(series: Series) -> None:
            groups[series.series_uid] = await self._group(series)

        await run_pool(as_iterator(batch), ask, workers=_LISTS_AT_ONCE, name="lock")
        return [groups[series.series_uid] for series in batch]

    async def _group(self, series: Series) -> LockedGroup:
        uid = series.series_uid
        entries, invalid_rows, _ = await list_until_complete(series, self.client)
        if (differs := finding(series, entries, invalid_rows)) is not None:
            self.failures.append(Failure(uid, None, differs.code, str(differs), 1))
        if uid in self.wanted:
            entries = await identified(self.client, series, entries, self.wanted[uid])
        chosen = self._chosen(uid, entries)
        md5s = await self._md5s(uid, [entry for entry in chosen if entry.md5 is None])
        held = await asyncio.to_thread(self._held, uid)
        instances = [self._locked(replace(entry, md5=md5s.get(entry.key, entry.md5)), held) for entry in chosen]
        return LockedSeries.of(series), sorted(instances, key=lambda each: each.name)

    def _chosen(self, uid: SeriesUid, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The entries that are selected; single ones that are not listed are failures."""
        wanted = self.wanted.get(uid)
        if wanted is None:
            return entries
        by_uid = {entry.sop_uid: entry for entry in entries}
        absent = "the archive does not list this instance in its series"
        self.failures += [Failure(uid, each, NotFound.code, absent, 1) for each in wanted if each not in by_uid]
        return [by_uid[each] for each in wanted if each in by_uid]

    async def _md5s(self, uid: SeriesUid, entries: Sequence[Entry]) -> dict[str, bytes]:
        """The MD5 of entries by key, where the archive can be asked for it. A question that failed is asked again."""
        found: dict[str, bytes] = {}

        async def ask(entry: Entry) -> None:
            if (md5 := await self.client.checksum(uid, entry)) is not None:
                found[entry.key] = md5

        left = list(entries) if self.asks_checksums and self.client.capabilities.checksums else []
        for _ in range(_ATTEMPTS_AT_A_CHECKSUM):
            await run_pool(as_iterator(left), ask, workers=_CHECKSUMS_AT_ONCE, name="checksums")
            left = [entry for entry in left if entry.key not in found]
            if not found or not left:  # an archive that knows none is asked once
                break
        return found

    def _held(self, uid: SeriesUid) -> dict[str, HeldInstance]:
        """What the mirror beside the archive holds of a Series, by UID, by key and by MD5. Blocking."""
        files = self.journal.held_of_series(uid) if self.journal is not None else []
        by_md5 = {held.md5.hex(): held for held in files if held.md5 is not None}
        return by_md5 | {held.entry.key: held for held in files} | {held.sop_uid: held for held in files}

    def _locked(self, entry: Entry, files: Mapping[str, HeldInstance]) -> LockedInstance:
        md5 = entry.md5.hex() if entry.md5 is not None and entry.sop_uid is None else ""
        names = (entry.sop_uid or "", entry.key, md5)
        held = next((files[name] for name in names if name in files), None)
        if held is not None and not _agree(entry, held):
            self.counts["other"] += 1
            held = None
        sop_uid = entry.sop_uid or (held.sop_uid if held is not None else None)
        return LockedInstance(
            sop_uid,
            entry.size_bytes if held is None else held.size_bytes,
            entry.md5 or (held.md5 if held is not None else None),
            held.sha256 if held is not None else None,
            held.transfer_syntax_uid if held is not None else None,
            entry.key if entry.key != sop_uid else None,
        )

    def _notes(self) -> Iterator[str]:
        if other := self.counts["other"]:
            yield f"the SHA-256 of {counted(other, 'file')} is left out: the mirror has other bytes than the archive"


def _agree(entry: Entry, held: HeldInstance) -> bool:
    """Whether a file may be what the archive lists, as far as the list shows."""
    is_as_long = entry.size_bytes in {None, held.size_bytes}
    return is_as_long and (entry.md5 is None or held.md5 is None or entry.md5 == held.md5)
