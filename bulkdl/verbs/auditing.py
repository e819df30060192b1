"""Every file of a mirror against its journal: the audit that `verify` makes. It reads, and changes nothing.

What was looked at is always a stretch from the journal's beginning, in its order, so that one position says where an
audit stopped. The position is kept (`store.bookmark`) while an audit is under way, and the next one goes on from
there: only if it asks the same, no run has changed the mirror meanwhile, and it comes within a week. What had been
found damaged by then is looked at again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Counts, HeldInstance
from bulkdl.model.events import Noted, Sink, Verifying
from bulkdl.model.records import Entry
from bulkdl.model.reports import Problem, ProblemKind
from bulkdl.model.text import storable
from bulkdl.runtime.disk import BOOKKEEPING
from bulkdl.runtime.processes import AnsweringProcess
from bulkdl.runtime.tasks import run_pool
from bulkdl.store.files import MirrorFiles
from bulkdl.store.verify_position import forget_bookmark, load_bookmark, save_bookmark
from bulkdl.store.walking import Found, FoundKind, walk
from bulkdl.verbs.common import now
from bulkdl.verbs.file_check import AuditItem, examine

_BATCH: Final = 256
_BATCH_BYTES: Final = 64 << 20
_PAGE: Final = 500
_ANNOUNCE_SECONDS: Final = 0.25
_BOOKMARK_SECONDS: Final = 10.0
_BOOKMARK_VERSION: Final = 1
_BOOKMARK_LIFE: Final = timedelta(days=7)
_MOST_AT_ONCE: Final = 8
# Below this mean size Python's own part of the work, which threads cannot share, is the larger one.
_SMALL_BYTES: Final = 128 << 10
_WORTH_PROCESSES: Final = 5_000

Kinds = tuple[ProblemKind | None, ...]
Examine = Callable[[tuple[AuditItem, ...]], Awaitable[Kinds | None]]
Batch = list[HeldInstance]


@dataclass(slots=True)
class Audit:
    """What an audit has found so far; `after` is the last instance that it has looked at."""

    after: tuple[int, str] | None = None
    checked: int = 0
    bytes_checked: int = 0
    damaged: list[tuple[HeldInstance, ProblemKind]] = field(default_factory=list)
    foreign: list[Problem] = field(default_factory=list)

    def problems(self) -> tuple[Problem, ...]:
        """All of them, by path."""
        found = [Problem(held.path, kind, held.sop_uid) for held, kind in self.damaged]
        return tuple(sorted([*found, *self.foreign], key=attrgetter("path")))


async def audit(
    files: MirrorFiles, journal: Journal, *, quick: bool, from_start: bool, sink: Sink, stop: asyncio.Event
) -> Audit:
    """Look at every file that the journal calls held, and then for files that it does not know.

    When `stop` is set it ends within seconds; what it returns then is not the whole truth.
    """
    auditor = _Auditor(files, journal, quick=quick, sink=sink, stop=stop)
    if not from_start:
        auditor.go_on()
    try:
        await auditor.look_at_held()
        if not stop.is_set():
            await auditor.look_for_foreign()
    except BaseException:
        auditor.keep_place()
        raise
    if stop.is_set():
        auditor.keep_place()
    else:
        forget_bookmark(files.root)
    auditor.announce()
    return auditor.audit


class _Auditor:
    """One audit at work."""

    def __init__(self, files: MirrorFiles, journal: Journal, *, quick: bool, sink: Sink, stop: asyncio.Event) -> None:
        self.audit = Audit()
        self._files = files
        self._journal = journal
        self._quick = quick
        self._sink = sink
        self._stop = stop
        last = journal.last_run()
        self._run = last.id if last else 0
        self._counts: Counts = journal.counts(None)
        self._again: Batch = []  # found damaged by the audit that we go on with
        self._since = now()
        self._announced = self._kept = time.monotonic()

    # --- the bookmark -------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Begin where an earlier audit of the same kind stopped, if one did."""
        kept = load_bookmark(self._files.root)
        if kept is None:
            return
        try:
            if (kept["version"], kept["run"], kept["quick"]) != (_BOOKMARK_VERSION, self._run, self._quick):
                return
            since = datetime.fromisoformat(kept["since"])
            if not timedelta() <= self._since - since <= _BOOKMARK_LIFE:
                return
            again = [_held_from(values) for values in kept["damaged"]]
            found = Audit(
                after=(int(kept["after"][0]), str(kept["after"][1])),
                checked=int(kept["checked"]) - len(again),
                bytes_checked=int(kept["bytes_checked"]) - sum(held.size_bytes for held in again),
            )
        except (KeyError, IndexError, TypeError, ValueError):
            return
        self.audit, self._again, self._since = found, again, since
        self._sink(Noted(f"going on with the audit of {since:%Y-%m-%d %H:%M} UTC, behind {found.checked:,} files"))

    def keep_place(self) -> None:
        """Remember how far it came, for the next audit."""
        if self.audit.after is None:
            return
        save_bookmark(
            self._files.root,
            {
                "version": _BOOKMARK_VERSION,
                "run": self._run,
                "quick": self._quick,
                "since": self._since.isoformat(),
                "after": self.audit.after,
                "checked": self.audit.checked + len(self._again),
                "bytes_checked": self.audit.bytes_checked + sum(held.size_bytes for held in self._again),
                "damaged": [_held_values(held) for held, _ in self.audit.damaged]
                + [_held_values(held) for held in self._again],
            },
        )
        self._kept = time.monotonic()

    # --- what is held -------------------------------------------------------------------------------------------------

    async def look_at_held(self) -> None:
        """Look at what is held, several batches at a time, and take their findings in order."""
        done: dict[int, tuple[Batch, Kinds]] = {}
        next_number = 0
        async with _examiners(self._counts, quick=self._quick, stop=self._stop) as (examine_batch, at_once):

            async def look(numbered: tuple[int, Batch]) -> None:
                nonlocal next_number
                number, batch = numbered
                kinds = await examine_batch(tuple(self._item(held) for held in batch))
                if kinds is None:  # told to stop in the midst of it: it counts as not looked at
                    return
                done[number] = batch, kinds
                while next_number in done:
                    self._take(*done.pop(next_number), is_again=next_number == 0 and bool(self._again))
                    next_number += 1

            await run_pool(self._batches(), look, workers=at_once, name="verify")

    async def _batches(self) -> AsyncIterator[tuple[int, Batch]]:
        number, after = 0, self.audit.after
        if self._again:
            yield number, self._again
            number += 1
        while not self._stop.is_set() and (page := self._journal.held(after=after, limit=_BATCH)):
            after = (page[-1].series_id, page[-1].sop_uid)
            for batch in _parted(page):
                if self._stop.is_set():
                    return
                yield number, batch
                number += 1

    def _item(self, held: HeldInstance) -> AuditItem:
        sha256 = None if self._quick else held.sha256
        return AuditItem(str(self._files.absolute(held.path)), held.size_bytes, sha256)

    def _take(self, batch: Batch, kinds: Kinds, *, is_again: bool) -> None:
        found = self.audit
        found.checked += len(batch)
        found.bytes_checked += sum(held.size_bytes for held in batch)
        found.damaged.extend((held, kind) for held, kind in zip(batch, kinds, strict=True) if kind is not None)
        if is_again:
            self._again = []
        else:
            found.after = (batch[-1].series_id, batch[-1].sop_uid)
        if time.monotonic() - self._announced >= _ANNOUNCE_SECONDS:
            self.announce()
        if time.monotonic() - self._kept >= _BOOKMARK_SECONDS:
            self.keep_place()

    def announce(self) -> None:
        """Say how far it came."""
        found = self.audit
        problems = len(found.damaged) + len(found.foreign)
        self._sink(Verifying(found.checked, self._counts.held, found.bytes_checked, problems))
        self._announced = time.monotonic()

    # --- what is foreign ----------------------------------------------------------------------------------------------

    async def look_for_foreign(self) -> None:
        """Find files that the journal knows nothing of. One that is owed is no stranger: it gets adopted."""
        files = walk(self._files.root, skip=lambda path: path == BOOKKEEPING)
        for folder, here in groupby(files, key=lambda found: found.path.rpartition("/")[0]):
            if self._stop.is_set():
                return
            self.audit.foreign.extend(_foreign_in(folder, here, self._journal))
            await asyncio.sleep(0)  # so that a signal is heard between two folders


def _foreign_in(folder: str, here: Iterator[Found], journal: Journal) -> Iterator[Problem]:
    try:
        series_uid = journal.series_in_folder(folder.encode("utf-8").decode())
    except UnicodeEncodeError:  # a name that is no UTF-8 was never given out
        series_uid = None
    known: set[str] = set()
    after = ""
    while series_uid is not None and (page := journal.instances(series_uid, after=after, limit=_PAGE)):
        known.update(row.path for row in page)
        after = page[-1].sop_uid
    for found in here:
        if found.path not in known:
            kind = ProblemKind.UNREADABLE if found.kind is FoundKind.UNREADABLE else ProblemKind.FOREIGN
            yield Problem(storable(found.path), kind)


def _parted(page: Batch) -> Iterator[Batch]:
    """Batches of bounded bytes: an audit that is told to stop ends with those at hand."""
    batch: Batch = []
    size_bytes = 0
    for held in page:
        if batch and size_bytes + held.size_bytes > _BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
        batch.append(held)
        size_bytes += held.size_bytes
    yield batch


@asynccontextmanager
async def _examiners(counts: Counts, *, quick: bool, stop: asyncio.Event) -> AsyncIterator[tuple[Examine, int]]:
    """Who looks at batches, and how many of them at once: threads, or processes for many small files."""
    at_once = min(os.cpu_count() or 1, _MOST_AT_ONCE)
    is_small = counts.held_bytes < counts.held * _SMALL_BYTES
    if quick or at_once == 1 or counts.held < _WORTH_PROCESSES or not is_small:

        async def by_thread(items: tuple[AuditItem, ...]) -> Kinds | None:
            return await asyncio.to_thread(examine, items, stop.is_set)

        yield by_thread, max(2, at_once)
        return
    async with AsyncExitStack() as stack:
        free: asyncio.Queue[AnsweringProcess] = asyncio.Queue()
        for _ in range(at_once):
            free.put_nowait(await stack.enter_async_context(AnsweringProcess("bulkdl.verbs.file_check")))

        async def by_process(items: tuple[AuditItem, ...]) -> Kinds | None:
            process = await free.get()
            try:
                answer: Kinds | None = await process.ask(items)
            finally:
                free.put_nowait(process)
            return answer if answer is not None else await asyncio.to_thread(examine, items, stop.is_set)

        yield by_process, at_once


def _held_values(held: HeldInstance) -> dict[str, Any]:
    digests = {name: value.hex() if value else None for name, value in (("md5", held.md5), ("sha256", held.sha256))}
    entry = {**asdict(held.entry), "md5": held.entry.md5.hex() if held.entry.md5 else None}
    return {**asdict(held), **digests, "entry": entry}


def _held_from(values: dict[str, Any]) -> HeldInstance:
    digests = {name: bytes.fromhex(values[name]) if values[name] else None for name in ("md5", "sha256")}
    sop_uid = values["sop_uid"]
    entry = {"key": sop_uid, "sop_uid": sop_uid, "md5": None, **values.get("entry", {})}  # earlier versions keep none
    entry["md5"] = bytes.fromhex(entry["md5"]) if entry["md5"] else None
    return HeldInstance(**{**values, **digests, "entry": Entry(**entry)})
