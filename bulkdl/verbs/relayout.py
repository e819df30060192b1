"""`relayout`: rename the files of a mirror into another layout, or make a view of it in that layout."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict, Unpack

from bulkdl.errors import ConfigurationError
from bulkdl.journal.journal import Journal
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.options import Option
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.relayout import RelayoutReport, Renamed
from bulkdl.store.layout import Layout, layout_name, parse_layout
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.verbs.calls.announcer import Announcer
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.mirrors.moves import Moves
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, open_mirror
from bulkdl.verbs.mirrors.views import View, prepare_view
from bulkdl.verbs.runs.recorded_run import recorded_run
from bulkdl.verbs.runs.side_texts import renew_side_files

_MOST_NAMED: Final = 1_000


class RelayoutOptions(TypedDict, total=False):
    """The options of `relayout`. `sink` receives the events. When `stop` is set, it ends within seconds."""

    layout: Annotated[
        str | None, Option("layout", "The layout to change to (default: that of the mirror).", "TEMPLATE|NAME")
    ]
    dry_run: Annotated[bool, Option("dry_run", "Show what would be renamed; change nothing.")]
    as_view: Annotated[
        Path | None,
        Option("as_view", "Leave the mirror as it is; make a tree of hard links to its files.", "DIR2", read=Path),
    ]
    sink: Sink
    stop: asyncio.Event | None


async def relayout_async(mirror: Paths, **options: Unpack[RelayoutOptions]) -> RelayoutReport:
    """Rename the files of a mirror to where another layout wants them. No archive is asked.

    Without `layout` a relayout that was interrupted is finished, and what stayed because something was in its way is
    moved. Files in the folder of a Series that the mirror does not know move along; empty folders are removed. With
    `as_view` the mirror stays, and a tree of hard links is made or brought up to date; it takes no space. Interrupted
    or killed, the next call finishes it, and so does any other verb that writes the mirror.

    Raises:
        UserError: the layout is invalid; `as_view` is not a place for a view.
        DiskError, MirrorLocked, JournalError: the mirror cannot be used.
    """
    started, root = time.monotonic(), Path(mirror)
    stop, sink = options.get("stop") or asyncio.Event(), options.get("sink", ignore)
    layout, view = options.get("layout"), options.get("as_view")
    chosen = parse_layout(layout) if layout is not None else None
    if view is not None and options.get("dry_run"):
        raise ConfigurationError("--dry-run cannot be combined with --as-view, which changes no file of the mirror")
    await asyncio.to_thread(require_mirror, root)
    async with open_mirror(root, "relayout", finishes=False) as opened:
        announcer = Announcer(
            sink, "view" if view is not None else "relayout", await opened.journal(Journal.series_count), "series"
        )
        moves = Moves(opened.files, opened.journal, stop.is_set, announcer)
        before = (await opened.settle_layout()).template
        wanted = chosen or parse_layout(before)
        if options.get("dry_run"):
            values = await _try(opened, moves, wanted)
        elif view is not None:
            values = await _make_view(opened, moves, wanted, Path(view))
        else:
            if (unfinished := await opened.journal(Journal.unfinished_relayout)) is not None:
                sink(Noted(f"finishing the relayout to {layout_name(unfinished)}, which was interrupted"))
            values = await _rearrange(opened, moves, wanted)
            await renew_side_files(opened, sink)
    return RelayoutReport(
        mirror=str(opened.files.root),
        layout=layout_name(wanted.template),
        layout_before=layout_name(before),
        seconds=time.monotonic() - started,
        **values,
    )


relayout = blocking(relayout_async)


async def _rearrange(opened: OpenMirror, moves: Moves, wanted: Layout) -> dict[str, Any]:
    async with recorded_run(opened, "relayout", {"layout": wanted.template}) as ended:
        await moves.finish()
        await opened.journal(Journal.begin_relayout, wanted.template)
        is_done = await moves.rearrange(wanted)
        ended.outcome = _outcome(is_done=is_done, problems=len(moves.problems))
    return {**_counts(moves), "outcome": ended.outcome}


async def _try(opened: OpenMirror, moves: Moves, wanted: Layout) -> dict[str, Any]:
    await opened.journal(Journal.begin_relayout, wanted.template, is_trial=True)
    found: list[Renamed] = []
    series = files = 0
    async for group in moves.planned(wanted):
        for each in (each for each in group if each.is_moved):
            series += 1
            files += len(each.move.names) if each.move.before == each.move.after else len(each.files)
            found += [Renamed(each.move.before, each.move.after)] if len(found) < _MOST_NAMED else []
    values = _counts(moves) | {"series_moved": series, "files_moved": files}
    outcome = _outcome(is_done=not moves.is_stopped(), problems=0)
    return {**values, "is_trial": True, "renames": tuple(found), "outcome": outcome}


async def _make_view(opened: OpenMirror, moves: Moves, wanted: Layout, root: Path) -> dict[str, Any]:
    await moves.finish()
    await opened.journal(Journal.begin_relayout, wanted.template, is_trial=True)
    files = await asyncio.to_thread(prepare_view, root, opened.files)
    with lock_mirror(files.root, "relayout", private=files.is_private):
        view = View(files, opened.files)
        is_done = await view.update(moves, wanted)
    return {
        "series": moves.seen_series,
        "view": str(files.root),
        "files_linked": view.linked,
        "files_removed": view.removed,
        "problems": tuple(islice(view.problems, _MOST_NAMED)),
        "outcome": _outcome(is_done=is_done, problems=len(view.problems)),
    }


def _outcome(*, is_done: bool, problems: int) -> RunOutcome:
    if not is_done:
        return RunOutcome.INTERRUPTED
    return RunOutcome.PARTIAL if problems else RunOutcome.COMPLETE


def _counts(moves: Moves) -> dict[str, Any]:
    return {
        "series": moves.seen_series,
        "series_moved": moves.moved_series,
        "series_failed": len(moves.problems),
        "files_moved": moves.moved.files,
        "files_other": moves.moved.others,
        "files_left": moves.moved.left_count,
        "left": tuple(moves.moved.left),
        "problems": tuple(islice(moves.problems.values(), _MOST_NAMED)),
    }
