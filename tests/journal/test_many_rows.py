"""Statements on many rows: all of them, whatever their number."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from bulkdl.journal.many_rows import ROWS, change, count

NUMBERS = [0, 1, 3, 4, 5, 63, 64, 65, 84, 85, 200]


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.execute("CREATE TABLE number (kind TEXT, value INTEGER, PRIMARY KEY (kind, value)) WITHOUT ROWID")
        yield made


def insert(database: sqlite3.Connection, rows: list[tuple[str, int]]) -> int:
    return change(database, f"INSERT OR IGNORE INTO number {ROWS}", rows)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_row_is_inserted_once(database: sqlite3.Connection, number: int) -> None:
    rows = [("a", value) for value in range(number)]
    assert (insert(database, rows), insert(database, [*rows, ("b", 1)])) == (number, 1)
    assert database.execute("SELECT count(*), count(DISTINCT value) FROM number WHERE kind = 'a'").fetchone() == (
        number,
        number,
    )


@pytest.mark.parametrize("number", NUMBERS)
def test_values_before_the_rows_are_those_of_every_step(database: sqlite3.Connection, number: int) -> None:
    insert(database, [(kind, value) for kind in "ab" for value in range(number)])
    asked, those = [(value,) for value in range(number + 3)], f"FROM number WHERE kind = ? AND value IN ({ROWS})"
    assert count(database, "SELECT count(*) " + those, asked, "a") == number
    assert change(database, "DELETE " + those, asked, "a") == number
    assert database.execute("SELECT count(*) FROM number WHERE kind = 'b'").fetchone() == (number,)


def test_no_statement_has_more_values_than_any_sqlite_takes(database: sqlite3.Connection) -> None:
    database.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    database.execute("CREATE TABLE wide (a, b, c, d, e, f, g, h, i, j)")
    assert change(database, f"INSERT INTO wide {ROWS}", [range(10)] * 100) == 100
