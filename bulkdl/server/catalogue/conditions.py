"""SQL conditions for queries of the catalogue. Only column names of our own become SQL; values are bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias, TypedDict

Condition: TypeAlias = tuple[str, Sequence[Any]]
"""SQL with placeholders, and the values for them."""


@dataclass(frozen=True, slots=True)
class Since:
    """Later than the midnight that begins `day`, or, with `including`, not earlier."""

    day: date
    including: bool = False

    def condition(self, column: str) -> Condition:
        """The same as a condition on a column."""
        return f"{column} {'>=' if self.including else '>'} ?", (self.day.isoformat(),)


class SeriesCriteria(TypedDict, total=False):
    """Criteria for Series; None matches everything. Text is compared without case, UIDs exactly."""

    collection: str | None
    patient_id: str | None
    study_uid: str | None
    series_uid: str | None
    modality: str | None
    body_part: str | None
    manufacturer: str | None
    model: str | None
    since: Since | None


def of_series(criteria: SeriesCriteria) -> list[Condition]:
    """The conditions on a table `series AS t` for some criteria."""
    since = criteria.get("since")
    wanted = {
        name if name.endswith("_uid") else f"{name.removesuffix('_id')}_key": value
        for name, value in criteria.items()
        if isinstance(value, str)
    }
    return [*equal("t", wanted), *([] if since is None else [since.condition("t.since")])]


def equal(table: str, wanted: Mapping[str, str | None]) -> list[Condition]:
    """That columns have values, except where the value is None. Columns named `…_key` hold upper case."""
    return [
        (f"{table}.{column} = ?", (value.upper() if column.endswith("_key") else value,))
        for column, value in wanted.items()
        if value is not None
    ]


def among(column: str, wanted: Sequence[Any]) -> Condition:
    """That a column has one of some values."""
    return f"{column} IN ({', '.join('?' * len(wanted))})", wanted


def has_series(joined: str, conditions: Sequence[Condition]) -> Condition:
    """That a row of `t` has a Series `s`, joined by the SQL `joined`, that meets the conditions."""
    text = " AND ".join([joined, *(condition for condition, _ in conditions)])
    return f"EXISTS (SELECT 1 FROM series AS s WHERE {text})", [value for _, values in conditions for value in values]  # noqa: S608


def all_of(conditions: Sequence[Condition]) -> Condition:
    """A WHERE clause of all conditions; empty if there are none."""
    text = " AND ".join(condition for condition, _ in conditions)
    return (f"WHERE {text}" if text else ""), [value for _, values in conditions for value in values]
