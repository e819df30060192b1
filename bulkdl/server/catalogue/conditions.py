"""SQL conditions for queries of the catalogue. Only column names of our own become SQL; values are bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias, TypedDict, cast

Condition: TypeAlias = tuple[str, Sequence[Any]]
"""SQL with placeholders, and the values for them."""


@dataclass(frozen=True, slots=True)
class Since:
    """Later than the midnight that begins `day`, or, with `including`, not earlier."""

    day: date
    including: bool = False


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


def of_series(criteria: SeriesCriteria, table: str = "t") -> list[Condition]:
    """The conditions on a table of Series for some criteria. Columns named `…_key` hold upper case."""
    found: list[Condition] = []
    for name, value in criteria.items():
        column = f"{table}.{_column(name)}"
        if isinstance(value, Since):
            found.append((f"{table}.since {'>=' if value.including else '>'} ?", (value.day.isoformat(),)))
        elif isinstance(value, str):
            found.append((f"{column} = ?", (value.upper() if column.endswith("_key") else value,)))
    return found


def of_parents(criteria: SeriesCriteria, key: Sequence[str]) -> list[Condition]:
    """The conditions on a table `t` of Patients or Studies. One Series must meet the criteria that are not in `key`."""
    of_key = {name: value for name, value in criteria.items() if _column(name) in key}
    others = {name: value for name, value in criteria.items() if name not in of_key}
    found = of_series(cast("SeriesCriteria", of_key))
    if below := of_series(cast("SeriesCriteria", others), "s"):
        where, values = all_of([*((f"s.{name} = t.{name}", ()) for name in key), *below])
        found.append((f"EXISTS (SELECT 1 FROM series AS s {where})", values))  # noqa: S608 - our own names
    return found


def among(column: str, wanted: Sequence[Any]) -> Condition:
    """That a column has one of some values."""
    return f"{column} IN ({', '.join('?' * len(wanted))})", wanted


def all_of(conditions: Sequence[Condition]) -> Condition:
    """A WHERE clause of all conditions; empty if there are none."""
    text = " AND ".join(condition for condition, _ in conditions)
    return (f"WHERE {text}" if text else ""), [value for _, values in conditions for value in values]


def _column(criterion: str) -> str:
    return criterion if criterion.endswith("_uid") else f"{criterion.removesuffix('_id')}_key"
