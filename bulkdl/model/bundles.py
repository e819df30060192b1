"""What a reader of bundles reports while a bundle arrives, and the limits that it keeps. Readers differ by format."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleLimits:
    """The limits of one bundle; sizes are unpacked bytes.

    A bundle larger than `free_ratio_bytes` may not unpack to more than `max_ratio` times its received bytes. Below
    that, any ratio is accepted: an empty mask shrinks a thousand times.
    """

    max_entry_bytes: int = 16 << 30
    max_total_bytes: int = 1 << 40
    max_entries: int = 1_000_000
    max_ratio: int = 200
    free_ratio_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class EntryStarted:
    """An entry begins. The first has `position` 1. `name` is untrusted; `size_bytes` is None if it follows the data."""

    position: int
    name: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class EntryData:
    """The next bytes of the entry, at most a mebibyte; a view of the fed chunk where possible."""

    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class EntryEnded:
    """The entry is complete: its checksum and sizes, where the format states them, are those of the received bytes."""

    position: int
    size_bytes: int


BundleEvent = EntryStarted | EntryData | EntryEnded
