"""Size and checksums of bytes and of files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Digests:
    """Size and checksums of a file; `md5` has 16 bytes, `sha256` 32."""

    size_bytes: int
    md5: bytes
    sha256: bytes


class Hashing:
    """Computes the digests of bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._size = 0

    def update(self, chunk: bytes | memoryview) -> None:
        """Add the next bytes."""
        self._md5.update(chunk)
        self._sha256.update(chunk)
        self._size += len(chunk)

    def update_from(self, path: Path) -> None:
        """Add the content of a file. Blocking.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_READ_BYTES):
                self.update(chunk)

    def digests(self) -> Digests:
        """The digests of all bytes so far."""
        return Digests(self._size, self._md5.digest(), self._sha256.digest())


def digests_of(content: bytes) -> Digests:
    """The digests of bytes in memory."""
    md5 = hashlib.md5(content, usedforsecurity=False).digest()
    return Digests(len(content), md5, hashlib.sha256(content).digest())


def digests_of_file(path: Path) -> Digests:
    """The digests of a file. Blocking.

    Raises:
        OSError: it cannot be read.
    """
    hashing = Hashing()
    hashing.update_from(path)
    return hashing.digests()
