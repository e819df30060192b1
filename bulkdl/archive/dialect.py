"""What every dialect can say: a question becomes a `Request`, a row of the answer becomes a record. Pure.

A dialect is its endpoint table, the name it gives to each of our questions, and its ways of writing values. The client
executes requests and knows no dialect; a new protocol is a new module beside `nbia` and a line in `profiles`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, Final, Protocol, TypeVar, cast

from bulkdl.archive.endpoints import Attribute, Endpoint, Kind
from bulkdl.archive.renderings import from_wire
from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_uid
from bulkdl.model.records import InstanceKey

Record = TypeVar("Record")
Row = Mapping[str, Any]

_LARGEST_INTEGER: Final = (1 << 63) - 1  # what a database can hold


@dataclass(frozen=True, slots=True)
class Request:
    """One request: a path relative to the archive's base address, with its query in order."""

    endpoint: Endpoint
    path: str
    query: tuple[tuple[str, str], ...] = ()


class Dialect(Protocol):
    """How one family of APIs is spoken to. Criteria are our own words: the `field` of the endpoint's parameters."""

    @property
    def name(self) -> str:
        """The family, as profiles name it."""

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Every endpoint of the family, by its documented name."""

    def collections(self) -> Request:
        """Ask for all Collections."""

    def series(self, criteria: Mapping[str, str]) -> Request:
        """Ask for the Series that meet all of `criteria`, or, with the one criterion `shared_list`, for those of it."""

    def size(self, series_uid: SeriesUid) -> Request:
        """Ask for bytes and number of instances of a Series."""

    def instances(self, series_uid: SeriesUid) -> Request:
        """Ask for the SOP Instance UIDs of a Series."""

    def instance(self, key: InstanceKey) -> Request:
        """Ask for one instance."""

    def bundle(self, series_uid: SeriesUid) -> Request:
        """Ask for the zip of a Series, with checksums where the family offers them."""

    def checksum(self, sop_uid: SopInstanceUid) -> Request | None:
        """Ask for the MD5 of one instance; None where the family cannot tell."""

    def verbatim(self, endpoint: Endpoint, parameters: Mapping[str, str]) -> Request:
        """Ask any endpoint of the family with parameters named as they go over the wire."""


def question(endpoint: Endpoint, criteria: Mapping[str, str], *, prefix: str) -> Request:
    """The request of `endpoint` for `criteria`, whose keys are fields of its parameters, below the path `prefix`."""
    named = {parameter.field: parameter.name for parameter in endpoint.parameters}
    query = tuple((named[field], value) for field, value in criteria.items())
    return Request(endpoint, f"{prefix}{endpoint.path}", query)


def read_record(record: type[Record], attributes: tuple[Attribute, ...], row: Row) -> Record:
    """Make a record of one row of an answer.

    An attribute that is missing, null or empty is left at its default, and so is one whose value cannot be read: only
    what names the record has to be there. Attributes that the table does not know are passed over.

    Raises:
        ValueError: what names the record is missing or cannot be right.
    """
    known, required = _fields_of(cast("type", record))
    values: dict[str, Any] = {}
    for attribute in attributes:
        if attribute.field not in known or attribute.name not in row:
            continue
        try:
            value = from_wire(attribute, row[attribute.name])
            if attribute.kind is Kind.UID and value is not None and not is_uid(str(value)):
                raise ValueError(f"{attribute.name} is no UID: {str(value)[:80]!r}")  # noqa: TRY301 - told like the others
            if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
                raise ValueError(f"{attribute.name} is beyond all measure")  # noqa: TRY301 - the same
        except ValueError:
            if attribute.field in required:
                raise
            continue
        if value is not None:
            values[attribute.field] = value
    missing = required - values.keys()
    if missing:
        raise ValueError(f"a row without {', '.join(sorted(missing))}")
    return record(**values)


@cache
def _fields_of(record: type) -> tuple[frozenset[str], frozenset[str]]:
    every = fields(record)
    required = (entry.name for entry in every if entry.default is MISSING and entry.default_factory is MISSING)
    return frozenset(entry.name for entry in every), frozenset(required)
