"""Moves of Series within a mirror: the journal knows what is about to be renamed before the first rename.

`move` has the folder that a Series moves to, `move_file` the files that get another name on the way; all others in its
folder keep theirs. Both are removed in the transaction that records the new places, so a row is a move that was begun
and must be finished. Each function takes the connection of a transaction under way.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bulkdl.journal.schema import HELD, OWED, UNBOUND, WITHDRAWN
from bulkdl.model.ids import default_file_name

# ruff: noqa: S608 - the parts that are put together are constants

_NAME: Final = "ifnull(i.name, i.sop_uid || '.dcm')"

FILES: Final = f"""
SELECT i.sop_uid, {_NAME}, i.name IS NOT NULL, i.state IN ({HELD}, {WITHDRAWN}), i.state = {OWED},
  ifnull(e.key, substr(i.sop_uid, 1 + (i.sop_uid > '{UNBOUND}'))), i.size_bytes
FROM instance AS i LEFT JOIN entry AS e ON e.series_id = i.series_id AND e.sop_uid = i.sop_uid
WHERE i.series_id = ? ORDER BY i.sop_uid
"""
BEGUN: Final = "SELECT value FROM mirror WHERE name = 'relayout'"
SET_BEGUN: Final = "INSERT OR REPLACE INTO mirror (name, value) VALUES ('relayout', ?)"
FORGET_BEGUN: Final = "DELETE FROM mirror WHERE name = 'relayout'"
REPLACE_LAYOUT: Final = "INSERT OR REPLACE INTO mirror (name, value) VALUES ('layout', ?)"
FORGET_OWNERS: Final = "DELETE FROM folder_owner"
MOVES: Final = "SELECT m.series_id, s.folder, m.folder FROM move AS m JOIN series AS s ON s.id = m.series_id"
MOVED_NAMES: Final = "SELECT sop_uid, before, after FROM move_file WHERE series_id = ?"
_ADD_MOVE: Final = "INSERT OR REPLACE INTO move (series_id, folder) VALUES (?, ?)"
_ADD_NAME: Final = "INSERT OR REPLACE INTO move_file (series_id, sop_uid, before, after) VALUES (?, ?, ?, ?)"
_LEAVE: Final = "UPDATE series SET folder = NULL WHERE id = ?"
_ENTER: Final = "UPDATE series SET folder = ? WHERE id = ?"
_RENAME: Final = "UPDATE instance SET name = ? WHERE series_id = ? AND sop_uid = ?"
_FORGET_MOVE: Final = "DELETE FROM move WHERE series_id = ?"
_FORGET_NAMES: Final = "DELETE FROM move_file WHERE series_id = ?"


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """An instance of a Series and the name of its file.

    `sop_uid` is as in the table, with `@` and a key where the UID is not known. `is_named`: the journal keeps the name,
    because it is not the usual one. `in_place`: the file is there.
    """

    sop_uid: str
    name: str
    is_named: bool
    in_place: bool
    is_owed: bool
    key: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class FileMove:
    """A file that gets another name. `before` is None where there is no file, `after` where its name is not known."""

    sop_uid: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class SeriesMove:
    """A Series that moves from the folder `before` to `after`; both relative to the mirror, with `/`."""

    series_id: int
    before: str
    after: str
    files: tuple[FileMove, ...] = ()

    @property
    def names(self) -> dict[str, str]:
        """The new names of files, by the present ones."""
        return {each.before: each.after for each in self.files if each.before is not None and each.after is not None}


def begin_moves(database: sqlite3.Connection, moves: Iterable[SeriesMove]) -> None:
    """Record that these moves begin."""
    for move in moves:
        database.execute(_ADD_MOVE, (move.series_id, move.after))
        names = ((move.series_id, each.sop_uid, each.before, each.after) for each in move.files)
        database.executemany(_ADD_NAME, names)


def end_moves(database: sqlite3.Connection, moves: Sequence[SeriesMove]) -> None:
    """Record the new places of Series whose files are there."""
    database.executemany(_LEAVE, ((move.series_id,) for move in moves))  # so that two may exchange their folders
    for move in moves:
        database.execute(_ENTER, (move.after, move.series_id))
        renamed = ((_kept(each), move.series_id, each.sop_uid) for each in move.files)
        database.executemany(_RENAME, renamed)
        database.execute(_FORGET_NAMES, (move.series_id,))
        database.execute(_FORGET_MOVE, (move.series_id,))


def _kept(file: FileMove) -> str | None:
    """The column `instance.name`: null for the usual name."""
    return None if file.after == default_file_name(file.sop_uid) else file.after
