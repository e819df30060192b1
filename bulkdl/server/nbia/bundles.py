"""The zip of a Series, written while it is read: pieces of bytes of bounded size, never a whole instance in memory.

As NBIA's servers write it with `java.util.zip`: deflated, lengths behind the data, flat names, the time of now. LICENSE
is the first entry of getImage, `md5hashes.csv` the last of getImageWithMD5Hash; the servers themselves never have both.
"""

from __future__ import annotations

import io
import os
import stat
import time
import zipfile
from typing import IO, TYPE_CHECKING, Final

from bulkdl.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bulkdl.server.catalogue import ServedFile

_READ_BYTES: Final = 1 << 18
_PIECE_BYTES: Final = 1 << 17
_ZIP64_FROM_BYTES: Final = 1 << 31
_LEVEL: Final = 1  # the scans hardly get smaller with more, and the loop of a worker is waiting


def open_served(file: ServedFile) -> io.FileIO:
    """Open a file for reading, as long as it is the one that was scanned, by its size.

    Raises:
        OSError: it is gone, no plain file any more, or has another size.
    """
    descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe put in its place must not hang
    if (change := _change(os.fstat(descriptor), file)) is not None:
        os.close(descriptor)
        raise OSError(change)
    return io.FileIO(descriptor)


def _change(status: os.stat_result, file: ServedFile) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return f"{file.path} is no plain file any more"
    if status.st_size != file.size_bytes:
        return f"{file.path} has {status.st_size} bytes, it had {file.size_bytes}"
    return None


def sequential_names(files: Sequence[ServedFile]) -> list[str]:
    """Names such as `00000001.dcm`, as many as files."""
    return [f"{number:08}.dcm" for number in range(1, len(files) + 1)]


def new_names(files: Sequence[ServedFile]) -> list[str]:
    """Names such as `1-01.dcm`: acquisition and instance, counted in the given order, padded to equal widths.

    The acquisition counts on, and the instance from 1, where the acquisition number is not that of the file before.
    """
    counted: list[tuple[int, int]] = []
    before = object()
    for file in files:
        acquisition, instance = counted[-1] if counted else (0, 0)
        is_new = not counted or file.acquisition_number != before
        counted.append((acquisition + 1, 1) if is_new else (acquisition, instance + 1))
        before = file.acquisition_number
    widths = [len(str(max(column, default=0))) for column in zip(*counted, strict=True)]
    return [f"{acquisition:0{widths[0]}}-{instance:0{widths[1]}}.dcm" for acquisition, instance in counted]


def original_names(files: Sequence[ServedFile]) -> list[str]:
    """The names of the files themselves; where several have the same, a number goes before it."""
    names = [file.path.name.encode(errors="replace").decode() for file in files]
    if len(set(names)) == len(names):
        return names
    return [f"{number:08}-{name}" for number, name in enumerate(names, start=1)]


def bundle(
    files: Sequence[ServedFile],
    names: Sequence[str],
    *,
    license_text: str | None = None,
    md5_of: Callable[[ServedFile], bytes] | None = None,
    on_failure: Callable[[str], None] = lambda _message: None,
) -> Iterator[bytes]:
    """The zip, piece by piece, each of 128 KiB or more but the last; with `md5_of`, checksums at its end.

    Like NBIA's, it ends early but well-formed, where a file cannot be read; `on_failure` is told why.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        if license_text is not None:
            archive.writestr(_entry("LICENSE"), license_text)
        try:
            for file, name in zip(files, names, strict=True):
                with open_served(file) as source, _opened(archive, name, file.size_bytes) as target:
                    while chunk := source.read(_READ_BYTES):
                        target.write(chunk)
                        yield from sink.take(_PIECE_BYTES)
            if md5_of is not None:
                lines = [f"{name},{md5_of(file).hex()}\n" for file, name in zip(files, names, strict=True)]
                archive.writestr(_entry("md5hashes.csv"), "".join(["Filename,MD5Hash\n", *lines]))
        except (OSError, DiskError) as error:
            on_failure(str(error))
    yield from sink.take(1)


class _Sink:
    """Where `zipfile` writes: it cannot seek, so lengths and checksums come behind the data."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes, /) -> int:
        self._pieces.append(data)
        self._size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing to close."""

    def take(self, at_least: int) -> Iterator[bytes]:
        if self._size >= at_least:
            piece = b"".join(self._pieces)
            self._pieces, self._size = [], 0
            yield piece


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, time.localtime()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _opened(archive: zipfile.ZipFile, name: str, size_bytes: int) -> IO[bytes]:
    return archive.open(_entry(name), "w", force_zip64=size_bytes >= _ZIP64_FROM_BYTES)
