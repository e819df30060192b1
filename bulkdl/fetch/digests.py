"""Size and checksums of bytes and of files.

The MD5 takes three times as long as the SHA-256, so it is computed only where something may be compared with it.
"""

import errno
import hashlib
import io
from pathlib import Path
from typing import Final, NamedTuple

_READ_BYTES: Final = 1 << 20


class Digests(NamedTuple):
    """Size and checksums of a file; `md5` has 16 bytes, or is None where it was not computed, `sha256` 32."""

    size_bytes: int
    md5: bytes | None
    sha256: bytes


class Hashing:
    """Computes the digests of bytes that arrive in pieces."""

    def __init__(self, *, with_md5: bool = True) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
        self._sha256 = hashlib.sha256()
        self._size = 0

    def update(self, chunk: bytes | memoryview) -> None:
        """Add the next bytes."""
        if self._md5 is not None:
            self._md5.update(chunk)
        self._sha256.update(chunk)
        self._size += len(chunk)

    def update_from(self, path: Path, start: int = 0, end: int | None = None) -> None:
        """Add a file, or its part from `start` to `end`. Blocking. OSError: it cannot be read, or ends before `end`."""
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            left = end - start if end is not None else None
            while chunk := file.read(_READ_BYTES if left is None else min(left, _READ_BYTES)):
                self.update(chunk)
                left = left - len(chunk) if left is not None else None
        if left:
            raise OSError(errno.EIO, f"the file ends {left} bytes too early")

    def digests(self) -> Digests:
        """The digests of all bytes so far."""
        return Digests(self._size, self._md5.digest() if self._md5 else None, self._sha256.digest())


def digests_of(content: bytes, *, with_md5: bool = True) -> Digests:
    """The digests of bytes in memory."""
    md5 = hashlib.md5(content, usedforsecurity=False).digest() if with_md5 else None
    return Digests(len(content), md5, hashlib.sha256(content).digest())


def digests_of_file(path: Path, *, with_md5: bool = True) -> Digests:
    """The digests of a file. Blocking. Raises OSError if it cannot be read."""
    hashing = Hashing(with_md5=with_md5)
    hashing.update_from(path)
    return hashing.digests()


def digests_of_source(source: bytes | Path, *, with_md5: bool = True) -> Digests:
    """The digests of bytes in memory, or of a file, as above. Blocking."""
    if isinstance(source, bytes):
        return digests_of(source, with_md5=with_md5)
    return digests_of_file(source, with_md5=with_md5)


def tag_of_parts(source: bytes | Path, part_bytes: int) -> str:
    """The entity tag that S3 gives an object uploaded in parts: the MD5 of their MD5s, and their number. Blocking."""
    md5s: list[bytes] = []
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            md5 = hashlib.md5(piece, usedforsecurity=False)
            left = part_bytes - len(piece)
            while left and (piece := file.read(min(left, _READ_BYTES))):
                md5.update(piece)
                left -= len(piece)
            md5s.append(md5.digest())
    return f'"{hashlib.md5(b"".join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"'
