"""What a scan reports: totals, files that cannot be served, and files that claim to be the same instance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Unservable:
    """A file or a folder that cannot be served."""

    path: Path
    reason: str


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
    served file. `unservable_by_reason` counts all unservable files by the part of the reason before a colon;
    `unservable` lists the first thousand.
    """

    totals: Totals
    files: int
    unchanged: int
    read: int
    removed: int
    duplicates: int
    conflicts: tuple[Conflict, ...]
    unservable: tuple[Unservable, ...]
    unservable_by_reason: Mapping[str, int]


def parse_totals(text: str | None) -> Totals:
    """Read totals that a scan has stored; all are 0 if there are none."""
    return Totals() if text is None else Totals(**json.loads(text))
