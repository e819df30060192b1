"""What a scan reports: totals, files that cannot be served, and files that claim to be the same instance."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Unservable:
    """A file or a folder that cannot be served."""

    path: Path
    reason: str

    @property
    def kind(self) -> str:
        """The reason with `N` for each number in it, such as the byte at which a file ends."""
        return _NUMBER.sub("N", self.reason)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Different files of the same instance. `chosen` is served, because it is the only valid one or the first.

    `why` is `valid` or `first`.
    """

    series_uid: str
    sop_uid: str
    chosen: Path
    others: tuple[Path, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two files of one Series that name different Patients or Studies. The Series is served under those of `chosen`.

    `other` is the first file that names others; `field` says which, `patient_id` or `study_uid`.
    """

    series_uid: str
    field: str
    chosen: Path
    other: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How much a catalogue serves."""

    collections: int = 0
    patients: int = 0
    studies: int = 0
    series: int = 0
    instances: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """The result of a scan.

    `files` = `unchanged` + `read`; `removed` files are gone since the last scan. `duplicates` have the same bytes as a
    served file. `unservable_by_reason` counts all unservable files by the `kind` of their reason;
    `unservable` lists the first hundred thousand, `contradictions` the first thousand.
    """

    totals: Totals
    files: int = 0
    unchanged: int = 0
    read: int = 0
    removed: int = 0
    duplicates: int = 0
    conflicts: tuple[Conflict, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    unservable: tuple[Unservable, ...] = ()
    unservable_by_reason: Mapping[str, int] = field(default_factory=dict)
