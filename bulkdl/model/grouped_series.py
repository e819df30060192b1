"""All Series of an archive in groups: values that many of them share are stated once, each Series has the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Patient, Series, Study


@dataclass(frozen=True, slots=True)
class SharedValues:
    """What many Series share: a record whose other values do not count, and the UIDs that it has no field for."""

    shared: Series
    sop_class_uid: str | None = None
    transfer_syntax_uid: str | None = None


class GroupedRow(NamedTuple):
    """What is a Series' own. `kind` and `study` are positions among those of `GroupedSeries`; dates are ISO 8601.

    `differing` are Patient ID, date and description of the Study where the latter are not those of the Study.
    """

    series_uid: SeriesUid
    kind: int
    study: int
    description: str | None
    image_count: int | None
    size_bytes: int | None
    series_number: int | None
    location: str | None
    series_date: str | None
    differing: Sequence[str | None] | None


class GroupedSeries(Protocol):
    """All Series of an archive. Blocking."""

    def kinds(self) -> Iterator[SharedValues]:
        """What Series share."""

    def studies(self) -> Iterator[tuple[Patient, Study]]:
        """The Studies, each with its Patient; those of a Patient come together."""

    def rows(self) -> Iterator[Sequence[GroupedRow]]:
        """The Series in batches, as tuples in the order of `GroupedRow`."""


def iso(moment: date | None) -> str | None:
    """A date or a time as ISO 8601."""
    return None if moment is None else moment.isoformat()
