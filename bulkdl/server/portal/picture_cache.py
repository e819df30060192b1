"""Pictures that were made, on disk, up to a limit: beyond it the oldest are removed.

A picture that cannot be kept or read again is made again: nothing here raises for a disk that is full or damaged.
"""

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 256 << 20
_LEFT: Final = 0.75  # of the limit, after some were removed


class PictureCache:
    """Pictures by texts that name them, in a folder for its owner alone. Thread-safe; everything blocks."""

    def __init__(self, folder: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._size_bytes: int | None = None
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The picture; None if it is not kept."""
        with suppress(OSError):
            return self._path(key).read_bytes() or None
        return None

    def put(self, key: str, content: bytes) -> None:
        """Keep a picture."""
        path = self._path(key)
        partial = path.with_suffix(f".{threading.get_ident()}")
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial.write_bytes(content)
            os.replace(partial, path)  # noqa: PTH105 - the same, and shorter
            self._count(len(content))

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()

    def _count(self, more_bytes: int) -> None:
        with self._lock:
            if self._size_bytes is None:
                self._size_bytes = sum(size for _, size, _ in self._kept())
            else:
                self._size_bytes += more_bytes
            if self._size_bytes > self._most_bytes:
                self._make_room()

    def _make_room(self) -> None:
        kept = sorted(self._kept())
        size = sum(one for _, one, _ in kept)
        for _, one, path in kept:
            if size <= self._most_bytes * _LEFT:
                break
            path.unlink(missing_ok=True)
            size -= one
        self._size_bytes = size

    def _kept(self) -> list[tuple[int, int, Path]]:
        """When each file was written, its size, and its path."""
        found = []
        for entry in os.scandir(self._folder):
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime_ns, status.st_size, Path(entry.path)))
        return found
