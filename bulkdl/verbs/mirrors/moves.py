"""Move the Series of a mirror to where a layout wants them, in steps that the next run finishes after a crash.

The steps of a group of Series: the journal records where they move to; their files are renamed, and the folders synced;
the journal records that they are there. Whichever of them a crash interrupts, `finish` ends the group, and nothing is
lost or doubled, because a rename is atomic and what is left at the old place is moved then. A Series whose new folder
belongs to another one that has not moved yet goes to a folder beside it first.

Series are taken by UID, and their instances too, so the names that collisions lead to depend on nothing else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

from bulkdl.dicom.header import Header, read_header
from bulkdl.errors import InstanceError
from bulkdl.journal.journal import Journal
from bulkdl.journal.moves import FileMove, PlacedFile, SeriesMove
from bulkdl.journal.rows import SeriesRow
from bulkdl.journal.schema import UNBOUND
from bulkdl.journal.thread import JournalThread
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Series
from bulkdl.model.reports.base import Refusal
from bulkdl.resolve.first_header import completed
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import InstanceNumbers, Layout
from bulkdl.store.moving import Moved, in_the_way, move_folder, names_in
from bulkdl.store.nbia_names import image_names
from bulkdl.store.safe_names import fold
from bulkdl.verbs.calls.announcer import Announcer

_PAGE: Final = 32
_PASSES: Final = 3  # those that move aside come to their places in the second
_ASIDE: Final = "~{}~moving"  # no layout ends a name so
_BETWEEN: Final = "{}~moving.dcm"


@dataclass(frozen=True, slots=True)
class Rearranged:
    """A Series, and where a layout wants it: `move` has its new folder and those of its files that get another name.

    `files` are the names of all files of it that are in place, each with its new one.
    """

    row: SeriesRow
    move: SeriesMove
    files: Mapping[str, str]

    @property
    def is_moved(self) -> bool:
        """Whether anything of it moves."""
        return self.move.before != self.move.after or bool(self.move.files)


@dataclass(slots=True)
class Moves:
    """Moves the Series of one mirror. `problems` are those that stay, by Series UID."""

    files: MirrorFiles
    journal: JournalThread
    is_stopped: Callable[[], bool] = lambda: False
    announcer: Announcer | None = None
    moved_series: int = 0
    seen_series: int = 0
    moved: Moved = field(default_factory=Moved)
    problems: dict[str, Refusal] = field(default_factory=dict)

    async def finish(self) -> None:
        """Finish the moves that were begun. Raises DiskError."""
        if moves := await self.journal(Journal.begun_moves):
            await self._carry_out(moves)

    async def rearrange(self, layout: Layout) -> bool:
        """Move every Series to where `layout` wants it; returns whether it came to the end. Raises DiskError."""
        await self.finish()
        for _ in range(_PASSES):
            self.problems.clear()
            self.seen_series, aside = 0, 0
            async for group in self.planned(layout):
                moves = []
                for each in group:
                    if each.is_moved and (move := await self._possible(each)) is not None:
                        moves.append(move)
                        aside += move.after != each.move.after
                await self._do(moves)
            if self.is_stopped():
                return False
            if not aside:
                break
            self.announcer = None  # the further passes are short
        await self.journal(Journal.end_relayout)
        return True

    async def planned(self, layout: Layout) -> AsyncIterator[list[Rearranged]]:
        """Where `layout` wants each Series, in groups, until it is stopped."""
        after = ""
        while not self.is_stopped() and (page := await self.journal(Journal.series_in_order, after=after, limit=_PAGE)):
            after = page[-1].series.series_uid
            self.seen_series += len(page)
            yield [await self._plan(row, layout) for row in page]
            if self.announcer is not None:
                self.announcer.step(len(page))

    async def rename(self, series_uid: SeriesUid, layout: Layout) -> Refusal | None:
        """Give the files of a Series the names that `layout` wants, in its folder; or what is in the way of one.

        Files that exchange their names get others first. After a crash between both the next run goes on.
        """
        for _ in range(_PASSES):
            row = await self.journal(Journal.find_series, series_uid)
            if row is None or row.folder is None:
                return None
            wanted = await self._plan(row, layout, row.folder)
            if not wanted.is_moved:
                return None
            if not wanted.move.names.keys().isdisjoint(wanted.move.names.values()):
                files = (replace(each, after=_BETWEEN.format(at)) for at, each in enumerate(wanted.move.files))
                wanted = replace(wanted, move=replace(wanted.move, files=tuple(files)))
            if (move := await self._possible(wanted)) is None:
                return self.problems.pop(series_uid)
            await self._do([move])
        return None

    async def _plan(self, row: SeriesRow, layout: Layout, folder: str | None = None) -> Rearranged:
        before = row.folder or ""
        if row.series.kind is not None:
            return await self._plan_plain(row, layout, folder)
        placed = await self.journal(Journal.placed_files, row.id)
        headers = await asyncio.to_thread(_headers, self.files, row, placed, layout)
        placed += _unrecorded(placed, headers)
        series = replace(row.series, image_count=row.series.image_count or row.held)
        if unknown := layout.unknown(series):
            series = completed(series, await self._any_header(row, headers), unknown)
        after = folder if folder is not None else await self.journal(_folder_of, series, layout)
        names = new_names(layout, series, placed, headers)
        moves = [move for each in placed if (move := _file_move(each, names, headers)) is not None]
        in_place = {each.name: names.get(each.sop_uid, each.name) for each in placed if each.in_place}
        return Rearranged(row, SeriesMove(row.id, before, after, tuple(moves)), in_place)

    async def _plan_plain(self, row: SeriesRow, layout: Layout, folder: str | None) -> Rearranged:
        """Where files belong that are not DICOM: they keep their names, in the folder that every layout gives them."""
        after = folder if folder is not None else await self.journal(_folder_of, row.series, layout)
        placed = await self.journal(Journal.placed_files, row.id)
        in_place = {each.name: each.name for each in placed if each.in_place}
        return Rearranged(row, SeriesMove(row.id, row.folder or "", after, ()), in_place)

    async def _any_header(self, row: SeriesRow, headers: Mapping[str, _Found]) -> Header | None:
        if (known := next((found.header for found in headers.values() if found.header), None)) is not None:
            return known
        folder = self.files.absolute(row.folder or "")

        def first() -> Header | None:
            found = (_header(self.files, f"{row.folder}/{name}") for name in sorted(names_in(folder)))
            return next((header for header in found if header and header.series_uid == row.series.series_uid), None)

        return await asyncio.to_thread(first)

    async def _possible(self, wanted: Rearranged) -> SeriesMove | None:
        """The move, or one to a folder beside if another Series is there still; None if it is not possible."""
        move, uid = wanted.move, wanted.row.series.series_uid
        other = await self.journal(Journal.series_in_folder, move.after)
        is_swapped = move.before == move.after and not move.names.keys().isdisjoint(move.names.values())
        if is_swapped or other not in {None, uid}:
            move = replace(move, after=f"{move.after}{_ASIDE.format(move.series_id)}")
        path: str | None = wanted.move.after
        if move.before != move.after or is_swapped:
            path = await asyncio.to_thread(in_the_way, self.files, move.before, move.after, wanted.files)
        elif move.names:
            path = await asyncio.to_thread(in_the_way, self.files, move.before, move.after, move.names)
        if path is not None:
            message = f"it is in the way of series {uid}, which stays in {move.before}: move it away, then repeat"
            self.problems[uid] = Refusal(path, "in-the-way", message)
            return None
        return move

    async def _names(self, move: SeriesMove) -> Iterable[str]:
        return [each.name for each in await self.journal(Journal.placed_files, move.series_id) if each.in_place]

    async def _do(self, moves: Sequence[SeriesMove]) -> None:
        if moves:
            await self.journal(Journal.begin_moves, moves)
            await self._carry_out(moves)

    async def _carry_out(self, moves: Sequence[SeriesMove]) -> None:
        for move in moves:
            known = frozenset(await self._names(move)) | move.names.keys()
            self.moved.add(await asyncio.to_thread(move_folder, self.files, move.before, move.after, move.names, known))
        await self.journal(Journal.end_moves, moves)
        self.moved_series += sum(not move.after.endswith(_ASIDE.format(move.series_id)) for move in moves)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read of a file: its header, None where it cannot be read, and its name if the journal has none.

    `is_missing`: the journal has it, and the disk does not.
    """

    header: Header | None
    name: str | None = None
    is_missing: bool = False


def _folder_of(journal: Journal, series: Series, layout: Layout) -> str:
    return layout.folder(series, taken=journal.is_taken)


def _header(files: MirrorFiles, path: str) -> Header | None:
    try:
        return read_header(files.absolute(path))
    except (InstanceError, OSError):
        return None


def _headers(files: MirrorFiles, row: SeriesRow, placed: Sequence[PlacedFile], layout: Layout) -> dict[str, _Found]:
    """The headers of files that a new name needs, by the row of their instance. Blocking.

    Files of owed instances are among them: a crash may have left them in place without a record.
    """
    found: dict[str, _Found] = {}
    for each in placed:
        if each.in_place and (layout.reads_header or layout.is_counted or each.sop_uid > UNBOUND):
            header = _header(files, path := f"{row.folder}/{each.name}")
            found[each.sop_uid] = _Found(
                header, is_missing=header is None and not os.path.lexists(files.absolute(path))
            )
    owed = {each.sop_uid for each in placed if each.is_owed}
    may_be_any = any(uid > UNBOUND for uid in owed)
    known = {each.name for each in placed if each.in_place}
    recorded = {each.sop_uid for each in placed if not each.is_owed}
    for name in sorted(names_in(files.absolute(row.folder or "")) - known) if owed else ():
        header = _header(files, f"{row.folder}/{name}")
        if header is None or header.series_uid != row.series.series_uid or header.sop_uid in recorded:
            continue
        if header.sop_uid in owed or may_be_any:
            found.setdefault(header.sop_uid, _Found(header, name))
    return found


def _unrecorded(placed: Sequence[PlacedFile], headers: Mapping[str, _Found]) -> list[PlacedFile]:
    """The files in place of entries whose UID is not known yet."""
    rows = {each.sop_uid for each in placed}
    return [
        PlacedFile(uid, found.name or "", False, False, True, uid, None)  # noqa: FBT003 - a row
        for uid, found in headers.items()
        if uid not in rows
    ]


def new_names(
    layout: Layout, series: Series, placed: Sequence[PlacedFile], headers: Mapping[str, _Found]
) -> dict[str, str]:
    """The new names of the files that are in place, by the row of their instance. One that may stay does."""
    if layout.file is None and not headers and not any(each.is_named for each in placed):
        return {}  # all have their usual names
    if layout.is_counted:
        return _counted_names(placed, headers)
    taken: set[str] = set()
    names: dict[str, str] = {}
    wanted = {
        each.sop_uid: list(layout.file_names(series, _numbers(each, headers)))
        for each in placed
        if each.in_place or each.sop_uid in headers
    }
    present = {each.sop_uid: each.name for each in placed if each.in_place}
    for uid, candidates in wanted.items():
        if present.get(uid) in candidates and fold(present[uid]) not in taken:
            names[uid] = present[uid]
            taken.add(fold(names[uid]))
    for uid, candidates in wanted.items():
        if uid not in names:
            free = (name for name in chain(candidates, (present.get(uid, candidates[-1]),)) if fold(name) not in taken)
            names[uid] = next(free, candidates[-1])
            taken.add(fold(names[uid]))
    return names


def _counted_names(placed: Sequence[PlacedFile], headers: Mapping[str, _Found]) -> dict[str, str]:
    """The names of all files of a Series, counted; none where one is missing, so that the others keep their numbers."""
    if any(each.in_place and headers[each.sop_uid].is_missing for each in placed):
        return {}
    files = [each for each in placed if each.in_place or each.sop_uid in headers]
    counted = image_names([_numbers(each, headers) for each in files])
    return {each.sop_uid: f"{name}.dcm" for each, name in zip(files, counted, strict=True)}


def _numbers(placed: PlacedFile, headers: Mapping[str, _Found]) -> InstanceNumbers:
    found = headers.get(placed.sop_uid)
    header = found.header if found is not None else None
    sop_uid = header.sop_uid if header is not None else SopInstanceUid(placed.sop_uid.removeprefix(UNBOUND))
    if header is None:
        return InstanceNumbers(sop_uid, placed.key)
    return InstanceNumbers(sop_uid, placed.key, header.instance_number, header.acquisition_number)


def _file_move(placed: PlacedFile, names: Mapping[str, str], headers: Mapping[str, _Found]) -> FileMove | None:
    """How an instance is renamed; None where it keeps its name."""
    after = names.get(placed.sop_uid, placed.name)
    if placed.in_place:
        return FileMove(placed.sop_uid, placed.name, after) if after != placed.name else None
    found = headers.get(placed.sop_uid)
    if found is not None and found.name is not None:
        return FileMove(placed.sop_uid, found.name, after)
    return FileMove(placed.sop_uid, None, None) if placed.is_named else None
