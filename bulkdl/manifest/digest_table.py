"""A set of names of which only digests are kept: a million UIDs take 40 MB as digests, and 140 MB as texts.

The digests have 16 bytes: two of a billion names have the same one with a probability of 10^-21. Where names are only
counted, 8 bytes suffice: then it is 3 % for a billion, and 10^-8 for a million.
"""

from array import array
from hashlib import blake2b
from typing import Final

_FIRST_SLOTS: Final = 1 << 10
_FULL: Final = 0.6


class DigestTable:
    """Names, each with a small number of flags. Slots are found by the first half of a digest (open addressing).

    One that only counts keeps the first half alone.
    """

    def __init__(self, *, only_counts: bool = False) -> None:
        self._count = 0
        self._only_counts = only_counts
        self._make(_FIRST_SLOTS)

    def __len__(self) -> int:
        return self._count

    def add(self, *name: str | None) -> bool:
        """Add a name, which may have several parts; whether it is new."""
        count = self._count
        self._slot(name)
        return self._count > count

    def mark(self, flag: int, *name: str | None) -> int:
        """Add a name and set a flag of it, a power of 2 below 256; returns the flags before, 0 if it is new."""
        slot = self._slot(name)
        flags = self._flags[slot]
        self._flags[slot] = flags | flag
        return flags

    def _slot(self, name: tuple[str | None, ...]) -> int:
        content = "\0".join(part or "" for part in name).encode("utf-8", "surrogatepass")
        digest = blake2b(content, digest_size=16).digest()
        first = int.from_bytes(digest[:8], "little") or 1  # 0 is a free slot
        second = 0 if self._only_counts else int.from_bytes(digest[8:], "little")
        slot = self._find(first, second)
        if self._firsts[slot]:
            return slot
        if self._count >= _FULL * len(self._firsts):
            self._grow()
            slot = self._find(first, second)
        self._put(slot, first, second)
        self._count += 1
        return slot

    def _find(self, first: int, second: int) -> int:
        firsts, seconds = self._firsts, self._seconds
        mask = len(firsts) - 1
        slot = first & mask
        while (there := firsts[slot]) and (there != first or (second and seconds[slot] != second)):
            slot = (slot + 1) & mask
        return slot

    def _make(self, slots: int) -> None:
        self._firsts = array("Q", bytes(8 * slots))
        self._seconds = array("Q", b"" if self._only_counts else bytes(8 * slots))
        self._flags = bytearray(slots)

    def _put(self, slot: int, first: int, second: int) -> None:
        self._firsts[slot] = first
        if second:
            self._seconds[slot] = second

    def _grow(self) -> None:
        firsts, seconds, flags = self._firsts, self._seconds, self._flags
        self._make(2 * len(firsts))
        for at, first in enumerate(firsts):
            if first:
                second = seconds[at] if seconds else 0
                slot = self._find(first, second)
                self._put(slot, first, second)
                self._flags[slot] = flags[at]
