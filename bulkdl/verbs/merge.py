"""`merge`: join mirrors that were made in shards, with hard links or copies, or by moving their files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict, Unpack

from bulkdl.errors import ConfigurationError, MirrorLocked
from bulkdl.journal.journal import Journal
from bulkdl.journal.merging import JoinedIds, KnownSeries
from bulkdl.journal.thread import JournalThread
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.ids import SeriesUid
from bulkdl.model.options import Option
from bulkdl.model.reports.base import Refusal, RunOutcome
from bulkdl.model.reports.merge import MergeReport
from bulkdl.runtime.disk import JOURNAL, LOCK_FILES, QUARANTINE, SUPERSEDED
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportMode, bring_beside, remove_taken
from bulkdl.store.layout import Layout, parse_layout
from bulkdl.store.mirror_lock import holder
from bulkdl.verbs.calls.announcer import Announcer
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.mirrors.counted_names import CountedNames
from bulkdl.verbs.mirrors.folders import require_mirror, require_settled
from bulkdl.verbs.mirrors.merged_series import SeriesJoiner
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, open_mirror
from bulkdl.verbs.runs.recorded_run import recorded_run
from bulkdl.verbs.runs.side_texts import has_side_files, renew_side_files, write_side_files

_MOST_NAMED: Final = 1_000


class MergeOptions(TypedDict, total=False):
    """The options of `merge`. `sink` receives the events. When `stop` is set, it ends within seconds."""

    by: Annotated[
        ImportMode,
        Option(
            "by",
            "How files get into DIR. Across file systems a link becomes a copy.",
            read=ImportMode,
            shown_default="link",
        ),
    ]
    move: Annotated[bool, Option("move", "The same as --by move: the other mirrors are empty then.")]
    layout: Annotated[
        str | None, Option("layout", "The layout of a new mirror (default: that of the first one).", "TEMPLATE|NAME")
    ]
    sink: Sink
    stop: asyncio.Event | None


async def merge_async(
    *mirrors: Paths,
    to: Annotated[Paths, Option("to", "The mirror to join them in; it may be one of them.", "DIR", read=Path)],
    **options: Unpack[MergeOptions],
) -> MergeReport:
    """Join mirrors: their files, and their journals with runs, selections and failures. No archive is asked.

    Files become hard links, or copies with `by`; with `move` they are removed from the other mirrors when the new one
    has recorded them. An instance of which two mirrors have different bytes is a conflict: it is named, and nothing is
    overwritten. The result can be resumed, synchronised and verified. Safe to repeat: after an interruption or a kill
    the next call continues.

    Raises:
        UserError: the layout is invalid, or a mirror lies within another.
        DiskError, MirrorLocked, JournalError: a mirror cannot be used.
    """
    started, target = time.monotonic(), Path(to)
    stop, sink = options.get("stop") or asyncio.Event(), options.get("sink", ignore)
    by = ImportMode.MOVE if options.get("move") else ImportMode(options.get("by", ImportMode.LINK))
    sources = await asyncio.to_thread(_sources, [Path(each) for each in mirrors], target)
    chosen = parse_layout(layout) if (layout := options.get("layout")) is not None else None
    first = await asyncio.to_thread(_layout_of, sources[0]) if sources else None
    async with open_mirror(target, "merge", private=await asyncio.to_thread(_any_private, sources)) as opened:
        is_new = await opened.journal(Journal.last_run) is None
        wanted = chosen if chosen is not None or not is_new else first
        merging = _Merging(opened, await opened.settle_layout(wanted), by, sink, stop)
        outcome = await merging.carry_out(sources)
        if (names := await CountedNames.of(opened, sink, stop)) is not None:
            await names.name_rest()
        if merging.has_side_files or await opened.journal(has_side_files):
            await write_side_files(opened, sink, has_changed=True)
        held = (await opened.journal(Journal.counts, None)).held_bytes
    return merging.report(outcome, sources, held, time.monotonic() - started)


merge = blocking(merge_async)


def _sources(mirrors: Sequence[Path], target: Path) -> list[Path]:
    """The mirrors to join, each once and without the target. Blocking.

    Raises JournalUnreadable, ConfigurationError, and MirrorLocked while a process works on one of them.
    """
    place, found = target.resolve(), dict[Path, Path]()
    for mirror in mirrors:
        require_mirror(mirror)
        source = mirror.resolve()
        if source != place:
            _refuse_busy(mirror)
            Journal.open_readonly(mirror / JOURNAL).close()
        if place in source.parents or source in place.parents:
            raise ConfigurationError(f"one of {mirror} and {target} is inside the other; choose a folder beside them")
        if source != place:
            found[source] = mirror
    return list(found.values())


def _layout_of(mirror: Path) -> Layout | None:
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        template = journal.layout()
    return parse_layout(template) if template is not None else None


def _any_private(sources: Sequence[Path]) -> bool:
    return any(MirrorFiles(source).is_private for source in sources)


@dataclass(slots=True)
class _Merging:
    target: OpenMirror
    layout: Layout
    by: ImportMode
    sink: Sink
    stop: asyncio.Event
    series: set[SeriesUid] = field(default_factory=set)
    joiners: list[SeriesJoiner] = field(default_factory=list)
    has_side_files: bool = False  # one of the other mirrors
    announcer: Announcer | None = None

    async def carry_out(self, sources: Sequence[Path]) -> RunOutcome:
        """Join every mirror. The runs of all come first, so that the run of this merge is the last.

        It has the archive of the last run before, which `resume` asks.
        """
        last = await self.target.journal(Journal.last_run)
        for source in sources:
            with await asyncio.to_thread(Journal.open_readonly, source / JOURNAL) as journal:
                await self.target.journal(Journal.join_history, journal.history())
        self.announcer = Announcer(self.sink, "merge", await asyncio.to_thread(_series_in, sources), "series")
        settings = {"sources": [str(source.absolute()) for source in sources], "by": self.by.value}
        async with recorded_run(self.target, "merge", settings, last=last) as ended:
            try:
                for source in sources:
                    if self.stop.is_set():
                        break
                    await self._join(source)
                ended.outcome = self._outcome()
            finally:
                brought = sum(joiner.brought for joiner in self.joiners)
                size_bytes = sum(joiner.bytes_brought for joiner in self.joiners)
                ended.counts = {"instances": {"adopted": brought}, "bytes": {"adopted": size_bytes}}
        return ended.outcome

    def _outcome(self) -> RunOutcome:
        if self.stop.is_set():
            return RunOutcome.INTERRUPTED
        return RunOutcome.PARTIAL if any(joiner.problems for joiner in self.joiners) else RunOutcome.COMPLETE

    async def _join(self, source: Path) -> None:
        async with _opened(source, for_move=self.by is ImportMode.MOVE) as (files, journal, writer):
            ids = await self.target.journal(Journal.join_history, await asyncio.to_thread(journal.history))
            has_texts = await asyncio.to_thread(has_side_files, journal)
            self.has_side_files |= has_texts
            joiner = SeriesJoiner(self.target, files, self.layout, self.by)
            self.joiners.append(joiner)
            after = ""
            while not self.stop.is_set() and (known := await asyncio.to_thread(journal.known_series, after)):
                after = known.series.series_uid
                self.series.add(known.series.series_uid)
                joined = await joiner.join(known, ids)
                if self.announcer is not None:
                    self.announcer.step()
                if writer is not None:
                    await self._leave(known, joined, joiner, writer)
            if not self.stop.is_set():
                await asyncio.to_thread(self._join_rest, files, ids)
            if writer is not None:
                await renew_side_files(OpenMirror(files, writer), self.sink)
            self.sink(Noted(f"{source}: {joiner.brought:,} instances joined, {joiner.already:,} were there already"))

    async def _leave(
        self, known: KnownSeries, joined: Sequence[str], joiner: SeriesJoiner, writer: JournalThread
    ) -> None:
        """Remove what the target has recorded from a mirror whose files are moved: first files, then rows."""
        rows = set(joined)
        paths = [joiner.path_of(known, each) for each in known.instances if each.sop_uid in rows and each.in_place]
        await asyncio.to_thread(joiner.source.remove, paths)
        uid: SeriesUid = known.series.series_uid
        await writer(Journal.forget_rows, uid, list(joined))

    def _join_rest(self, source: MirrorFiles, ids: JoinedIds) -> None:
        """Bring what lies in `.bulkdl` beside the journal: lock files, quarantine, superseded files. Blocking."""
        for path, place in _kept_files(source.root, ids):
            if bring_beside(path, self.target.files, place) and self.by is ImportMode.MOVE:
                remove_taken(path, source.root)

    def report(self, outcome: RunOutcome, sources: Sequence[Path], held: int, seconds: float) -> MergeReport:
        """What was done."""
        problems: list[Refusal] = [problem for joiner in self.joiners for problem in joiner.problems]
        counts: dict[str, Any] = {
            name: sum(getattr(joiner, name) for joiner in self.joiners)
            for name in ("brought", "already", "conflicts", "missing", "linked", "copied", "bytes_brought")
        }
        return MergeReport(
            mirror=str(self.target.files.root),
            sources=tuple(map(str, sources)),
            outcome=outcome,
            by=self.by.value,
            series=len(self.series),
            bytes_mirror=held,
            seconds=seconds,
            problems=tuple(problems[:_MOST_NAMED]),
            **counts,
        )


def _series_in(sources: Sequence[Path]) -> int:
    count = 0
    for source in sources:
        with Journal.open_readonly(source / JOURNAL) as journal:
            count += journal.series_count()
    return count


def _refuse_busy(source: Path) -> None:
    if (process := holder(source)) is not None:
        raise MirrorLocked(f"{source} is in use by {process}; nothing was changed: wait until it ends")


@asynccontextmanager
async def _opened(source: Path, *, for_move: bool) -> AsyncIterator[tuple[MirrorFiles, Journal, JournalThread | None]]:
    """A mirror to join: its files, its journal to read, and where its files are moved the journal to write."""
    if for_move:
        async with open_mirror(source, "merge") as opened:
            with await asyncio.to_thread(Journal.open_readonly, source / JOURNAL) as journal:
                yield opened.files, journal, opened.journal
        return
    with await asyncio.to_thread(Journal.open_readonly, source / JOURNAL) as journal:
        await asyncio.to_thread(require_settled, source, journal)
        yield MirrorFiles(source), journal, None


def _kept_files(root: Path, ids: JoinedIds) -> Iterator[tuple[Path, str]]:
    """The files beside the journal that are joined, each with its place in the other mirror."""
    for folder in (LOCK_FILES, QUARANTINE):
        for path in sorted((root / folder).glob("*")):
            if path.is_file() and not path.is_symlink():
                yield path, f"{folder}/{path.name}"
    for path in sorted((root / SUPERSEDED).rglob("*")):
        run, _, rest = path.relative_to(root / SUPERSEDED).as_posix().partition("/")
        if path.is_file() and not path.is_symlink() and rest:
            number = ids.runs.get(int(run), 0) if run.isdigit() else 0
            yield path, f"{SUPERSEDED}/{number}/{rest}"
