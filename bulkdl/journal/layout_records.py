"""The layout of a mirror, and moves to another one."""

from __future__ import annotations

from collections.abc import Sequence

from bulkdl.errors import LayoutError
from bulkdl.journal import moves, queries, rows
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import SeriesRow
from bulkdl.model.ids import SeriesUid


class LayoutRecords(JournalDatabase):
    """The folders and names of a journal, and the moves that change them."""

    def layout(self) -> str | None:
        """The template of the mirror's folders and files; None before the first run."""
        row = self._row(queries.LAYOUT)
        return str(row[0]) if row is not None else None

    def settle_layout(self, wanted: str | None, default: str) -> str:
        """The template of the mirror's folders. The first run sets it to `wanted` or else `default`; it never changes.

        Raises:
            LayoutError: the mirror has another layout than `wanted`.
        """
        row = self._row(queries.LAYOUT)
        if row is None:
            settled = wanted or default
            with self._writing() as database:
                database.execute(queries.SET_LAYOUT, (settled,))
            return settled
        if wanted is not None and wanted != row[0]:
            raise LayoutError(f"this mirror has the layout {row[0]}, and keeps it; to change it, use bulkdl relayout")
        return str(row[0])

    def is_taken(self, key: str, owner: str) -> bool:
        """Whether the folder of `key` belongs to another owner. If it is free, it belongs to `owner` from now on.

        The claim is recorded with the next Series (`record_series`). `Layout.folder` calls it.
        """
        known = self._claims.get(key)
        if known is None:
            row = None if self._forgets_owners else self._row(queries.FOLDER_OWNER, (key,))
            known = row[0] if row else self._claims.setdefault(key, owner)
        return bool(known != owner)

    def begin_relayout(self, template: str, *, is_trial: bool = False) -> None:
        """Begin to move every Series to where another layout wants it, or begin a trial, of which nothing is recorded.

        The layout counts at once, for new Series too, and the folders have no owners any more.
        """
        if (row := self._row(queries.LAYOUT)) is not None and row[0] == template:
            return
        self._claims.clear()
        if is_trial:
            self._forgets_owners = True
            return
        with self._writing() as database:
            database.execute(moves.FORGET_OWNERS)
            database.execute(moves.REPLACE_LAYOUT, (template,))
            database.execute(moves.SET_BEGUN, (template,))

    def unfinished_relayout(self) -> str | None:
        """The layout of a relayout that did not end; None if there is none."""
        begun = self._row(moves.BEGUN)
        return str(begun[0]) if begun is not None else None

    def end_relayout(self) -> None:
        """Record that every Series is where the layout wants it."""
        with self._writing() as database:
            database.executemany(queries.CLAIM_FOLDER, self._claims.items())
            database.execute(moves.FORGET_BEGUN)
        self._claims.clear()

    def begin_moves(self, series_moves: Sequence[moves.SeriesMove]) -> None:
        """Record moves before the first file is renamed."""
        with self._writing() as database:
            database.executemany(queries.CLAIM_FOLDER, self._claims.items())
            moves.begin_moves(database, series_moves)
        self._claims.clear()

    def end_moves(self, series_moves: Sequence[moves.SeriesMove]) -> None:
        """Record the new places of Series whose files are there, durably."""
        with self._writing() as database:
            moves.end_moves(database, series_moves)

    def begun_moves(self) -> list[moves.SeriesMove]:
        """The moves that were begun and have not ended."""
        return [
            moves.SeriesMove(
                number, before, after, tuple(moves.FileMove(*each) for each in self._rows(moves.MOVED_NAMES, (number,)))
            )
            for number, before, after in self._rows(moves.MOVES)
        ]

    def placed_files(self, series_id: int) -> list[moves.PlacedFile]:
        """The instances of a Series with the names of their files."""
        return [
            moves.PlacedFile(uid, name, bool(named), bool(in_place), bool(owed), key, size)
            for uid, name, named, in_place, owed, key, size in self._rows(moves.FILES, (series_id,))
        ]

    def series_in_order(self, *, after: str = "", limit: int) -> list[SeriesRow]:
        """Every Series that has a folder, by UID, after the UID `after`."""
        return [rows.series_row(row) for row in self._rows(queries.SERIES_BY_ORDER, (after, limit))]

    def uncounted_series(self, *, after: str = "", limit: int) -> list[SeriesUid]:
        """The Series, by UID, with files that have no counted name yet: `nbia_image` of a layout."""
        return [SeriesUid(uid) for (uid,) in self._rows(queries.UNCOUNTED, (after, limit))]
