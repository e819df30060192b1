"""Statements on many rows in few steps of SQLite.

`executemany` makes a step for each row, and each step gives the interpreter lock away and takes it back. Where another
core is free, two switches of threads for each row take more time than the rows (measured: half of all processor time
of a run of small instances in one process).
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

ROWS: Final = "VALUES ROWS"
"""Stands in a statement for the values of all rows."""

# SQLite keeps what it has parsed of each. Before 3.32 a statement has 999 values at most.
_SIZES: Final = (64, 16, 4, 1)


def change(database: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]], *before: Any) -> int:
    """Execute a statement that changes rows; returns the number that it changed.

    All `rows` have as many values; those `before` are of parameters that precede the rows in the statement.
    """
    return sum(database.execute(text, (*before, *values)).rowcount for text, values in _in_parts(statement, rows))


def count(database: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]], *before: Any) -> int:
    """Execute a question whose answer is a number, as `change` does; returns the sum."""
    parts = _in_parts(statement, rows)
    return sum(int(database.execute(text, (*before, *values)).fetchone()[0]) for text, values in parts)


def _in_parts(statement: str, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Iterable[Any]]]:
    begin = 0
    for size in _SIZES:
        while begin + size <= len(rows):
            part = rows[begin : begin + size]
            row = f"({', '.join('?' * len(part[0]))})"
            values = f"VALUES {', '.join([row] * size)}"
            yield statement.replace(ROWS, values), chain.from_iterable(part)
            begin += size
