"""Compare every file of a mirror with its journal. Reads the mirror, and changes nothing.

Files are read in the order of the journal, so one position says where an interrupted verification stopped. The
position is kept in the mirror (`store.state_files`), and the next verification continues there if it has the same
options, no run has changed the mirror since, and it starts within a week. Files found damaged before are read again.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, TypeAlias

from bulkdl.errors import MirrorUnwritable
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Counts, HeldInstance
from bulkdl.model.events import Noted, RunContext, Verifying
from bulkdl.model.records import Entry
from bulkdl.model.reports.verify import Problem, ProblemKind
from bulkdl.model.text import storable
from bulkdl.runtime.disk import BOOKKEEPING, VERIFY_POSITION
from bulkdl.runtime.processes import AnsweringProcesses, readers_at_once
from bulkdl.runtime.tasks import run_pool, running_alongside
from bulkdl.store.files import MirrorFiles
from bulkdl.store.side_names import is_side_file
from bulkdl.store.state_files import forget_state, load_state, save_state
from bulkdl.store.walking import Found, FoundKind, walk
from bulkdl.verbs.verification.batch import ExpectedFile, verify_batch

_PROGRAM: Final = "bulkdl.verbs.verification.batch"
_BATCH: Final = 256
_BATCH_BYTES: Final = 64 << 20
_PAGE: Final = 500
_ANNOUNCE_SECONDS: Final = 0.25
_POSITION_SECONDS: Final = 10.0
_POSITION_VERSION: Final = 1
_POSITION_LIFE: Final = timedelta(days=7)
# Below this mean size most of the work is Python's own, which threads cannot share.
_SMALL_BYTES: Final = 128 << 10
_WORTH_PROCESSES: Final = 5_000

Kinds: TypeAlias = tuple[ProblemKind | None, ...]
GoesOn: TypeAlias = Callable[[int], bool]
VerifyBatch: TypeAlias = Callable[[tuple[ExpectedFile, ...], GoesOn], Awaitable[Kinds | None]]
Batch: TypeAlias = list[HeldInstance]
Damage: TypeAlias = tuple[HeldInstance, ProblemKind]


@dataclass(slots=True)
class FileVerification:
    """Compares every file that the journal calls held, and then looks for files that it does not know.

    `after` is the last instance that was read, `again` those that the verification which this one continues found
    damaged. When the stop of `context` is set, `run` ends within seconds, and the findings cover only a part.
    """

    files: MirrorFiles
    journal: Journal
    context: RunContext
    quick: bool
    after: tuple[int, str] | None = None
    checked: int = 0
    bytes_checked: int = 0
    damaged: list[Damage] = field(default_factory=list)
    foreign: list[Problem] = field(default_factory=list)
    again: Batch = field(default_factory=list)
    _run: int = field(init=False)
    _counts: Counts = field(init=False)
    _since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _read: dict[int, int] = field(default_factory=dict)  # bytes of the batches that are not recorded, by number
    _kept: float = field(default_factory=time.monotonic)

    async def run(self, *, from_start: bool) -> None:
        """Verify all files, from where an earlier verification with the same options stopped unless `from_start`."""
        last = self.journal.last_run()
        self._run, self._counts = last.id if last else 0, self.journal.counts(None)
        if not from_start:
            self._go_on()
        try:
            await self._verify_held()
            if not self.context.stop.is_set():
                await self._find_foreign()
        except BaseException:
            self._keep_position()
            raise
        if self.context.stop.is_set():
            self._keep_position()
        else:
            forget_state(self.files.root, VERIFY_POSITION)
        self._announce()

    def problems(self) -> tuple[Problem, ...]:
        """All problems, by path."""
        found = [Problem(held.path, kind, held.sop_uid) for held, kind in self.damaged]
        return tuple(sorted([*found, *self.foreign], key=attrgetter("path")))

    def _go_on(self) -> None:
        kept = load_state(self.files.root, VERIFY_POSITION)
        if kept is None:
            return
        try:
            since = datetime.fromisoformat(kept["since"])
            is_recent = timedelta() <= self._since - since <= _POSITION_LIFE
            here = _POSITION_VERSION, self._run, self.quick
            if (kept["version"], kept["run"], kept["quick"]) != here or not is_recent:
                return
            again = [_held_from(values) for values in kept["damaged"]]
            after = (int(kept["after"][0]), str(kept["after"][1]))
            checked = int(kept["checked"]) - len(again)
            bytes_checked = int(kept["bytes_checked"]) - sum(held.size_bytes for held in again)
        except (KeyError, IndexError, TypeError, ValueError):
            return
        self.again, self.after, self._since = again, after, since
        self.checked, self.bytes_checked = checked, bytes_checked
        message = f"continuing the verification of {since:%Y-%m-%d %H:%M} UTC after {checked:,} files"
        self.context.sink(Noted(message))

    def _keep_position(self) -> None:
        if self.after is None:
            return
        position = {
            "version": _POSITION_VERSION,
            "run": self._run,
            "quick": self.quick,
            "since": self._since.isoformat(),
            "after": self.after,
            "checked": self.checked + len(self.again),
            "bytes_checked": self.bytes_checked + sum(held.size_bytes for held in self.again),
            "damaged": [_held_values(held) for held in (*(held for held, _ in self.damaged), *self.again)],
        }
        save_state(self.files.root, VERIFY_POSITION, position)
        self._kept = time.monotonic()

    async def _verify_held(self) -> None:
        done: dict[int, tuple[Batch, Kinds]] = {}
        next_number = 0
        async with (
            running_alongside(self._announce_often()),
            _verifiers(self._counts, quick=self.quick) as (verify, at_once),
        ):

            async def verify_one(numbered: tuple[int, Batch]) -> None:
                nonlocal next_number
                number, batch = numbered
                self._read[number] = 0
                kinds = await verify(tuple(map(self._expected, batch)), partial(self._goes_on, number))
                if kinds is None:  # stopped half-way: the batch does not count
                    del self._read[number]
                    return
                done[number] = batch, kinds
                while next_number in done:
                    del self._read[next_number]
                    self._record(*done.pop(next_number), is_again=next_number == 0 and bool(self.again))
                    next_number += 1

            await run_pool(self._batches(), verify_one, workers=at_once, name="verify")

    async def _batches(self) -> AsyncIterator[tuple[int, Batch]]:
        number, after = 0, self.after
        if self.again:
            yield number, self.again
            number += 1
        while not self.context.stop.is_set() and (page := self.journal.held(after=after, limit=_BATCH)):
            after = (page[-1].series_id, page[-1].sop_uid)
            for batch in _split(page):
                if self.context.stop.is_set():
                    return
                yield number, batch
                number += 1

    def _goes_on(self, number: int, size_bytes: int) -> bool:
        """Count the bytes that a thread has read of a batch; whether it is to read on."""
        self._read[number] += size_bytes
        return not self.context.stop.is_set()

    def _expected(self, held: HeldInstance) -> ExpectedFile:
        sha256 = None if self.quick else held.sha256
        return ExpectedFile(str(self.files.absolute(held.path)), held.size_bytes, sha256)

    def _record(self, batch: Batch, kinds: Kinds, *, is_again: bool) -> None:
        self.checked += len(batch)
        self.bytes_checked += sum(held.size_bytes for held in batch)
        self.damaged.extend((held, kind) for held, kind in zip(batch, kinds, strict=True) if kind is not None)
        if is_again:
            self.again = []
        else:
            self.after = (batch[-1].series_id, batch[-1].sop_uid)
        if time.monotonic() - self._kept >= _POSITION_SECONDS:
            self._keep_position()

    async def _announce_often(self) -> None:
        while True:
            await asyncio.sleep(_ANNOUNCE_SECONDS)
            self._announce()

    def _announce(self) -> None:
        problems = len(self.damaged) + len(self.foreign)
        bytes_read = self.bytes_checked + sum(self._read.values())
        bytes_held = 0 if self.quick else self._counts.held_bytes
        self.context.sink(Verifying(self.checked, self._counts.held, bytes_read, problems, bytes_held))

    async def _find_foreign(self) -> None:
        """Find files that the journal does not know. A file of an owed instance is not foreign: `resume` adopts it."""
        files = walk(self.files.root, skip=lambda path: path == BOOKKEEPING)
        for folder, here in groupby(files, key=lambda found: found.path.rpartition("/")[0]):
            if self.context.stop.is_set():
                return
            self.foreign.extend(_foreign_in(folder, here, self.journal))
            await asyncio.sleep(0)  # lets a signal be handled between two folders


def _foreign_in(folder: str, here: Iterator[Found], journal: Journal) -> Iterator[Problem]:
    try:
        series_uid = journal.series_in_folder(folder.encode("utf-8").decode())
    except UnicodeEncodeError:  # bulkdl never makes a name that is not UTF-8
        series_uid = None
    known: set[str] = set()
    after = ""
    while series_uid is not None and (page := journal.instances(series_uid, after=after, limit=_PAGE)):
        known.update(row.path for row in page)
        after = page[-1].sop_uid
    for found in here:
        if found.path not in known and not is_side_file(found.path):
            kind = ProblemKind.UNREADABLE if found.kind is FoundKind.UNREADABLE else ProblemKind.FOREIGN
            yield Problem(storable(found.path), kind)


def _split(page: Batch) -> Iterator[Batch]:
    """Batches of bounded size: a verification that is stopped finishes the batches in progress."""
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
async def _verifiers(counts: Counts, *, quick: bool) -> AsyncIterator[tuple[VerifyBatch, int]]:
    """What verifies a batch, and how many at a time: threads, or processes for many small files."""
    at_once = readers_at_once()
    is_small = counts.held_bytes < counts.held * _SMALL_BYTES

    async def by_thread(batch: tuple[ExpectedFile, ...], goes_on: GoesOn) -> Kinds | None:
        return await asyncio.to_thread(verify_batch, batch, goes_on)

    if quick or at_once == 1 or counts.held < _WORTH_PROCESSES or not is_small or not sys.executable:
        yield by_thread, max(2, at_once)
        return
    async with AnsweringProcesses(_PROGRAM) as processes:

        async def by_process(batch: tuple[ExpectedFile, ...], goes_on: GoesOn) -> Kinds | None:
            answer: Kinds | None = None
            with suppress(MirrorUnwritable):  # no process can be started
                answer = await processes.ask(batch)
            return answer if answer is not None else await by_thread(batch, goes_on)

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
