"""The Collections of a mirror, or of one run, in reports."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from bulkdl.model.formatting import table
from bulkdl.model.quantities import human_bytes


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """One Collection of a mirror. Counts are of instances; `size_bytes` is the size of those held."""

    collection: str
    series: int
    instances: int
    held: int
    owed: int
    failed: int
    quarantined: int
    size_bytes: int


def collection_table(entries: Iterable[CollectionStatus], width: int | None) -> str:
    """A row for each Collection."""
    return table(
        ("collection", "series", "instances", "held", "owed", "failed", "quarantined", "size"),
        (
            (name, *(f"{count:,}" for count in counts), human_bytes(size_bytes))
            for name, *counts, size_bytes in map(astuple, entries)
        ),
        width=width,
    )
