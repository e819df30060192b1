"""The zip of a Series, written in chunks of bounded size while files are read.

It has the form that NBIA's servers write with `java.util.zip`: deflated, lengths after the data, flat names, the
current time. LICENSE is the first entry of getImage, `md5hashes.csv` the last of getImageWithMD5Hash; the real servers
never send both.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from bulkdl.errors import DiskError
from bulkdl.server.catalogue import ServedFile, open_served

_READ_BYTES: Final = 1 << 18
_PIECE_BYTES: Final = 1 << 17
_ZIP64_FROM_BYTES: Final = 1 << 31
_LEVEL: Final = 1  # higher levels are slower and save little


def sequential_names(files: Sequence[ServedFile]) -> list[str]:
    """Names such as `00000001.dcm`, one per file."""
    return [f"{number:08}.dcm" for number in range(1, len(files) + 1)]


def new_names(files: Sequence[ServedFile]) -> list[str]:
    """Names such as `1-01.dcm`: acquisition and instance, counted in the given order, padded to equal widths.

    Where the acquisition number changes, the next acquisition begins and instances are counted from 1 again.
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
    """The names of the files; with a number before them if several are equal."""
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
    """The zip in chunks, each but the last of 128 KiB or more; with `md5_of`, it ends with checksums.

    Like NBIA's, it ends early but well-formed if a file cannot be read; `on_failure` is called with the reason.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        if license_text is not None:
            archive.writestr(_entry("LICENSE"), license_text)
        try:
            for file, name in zip(files, names, strict=True):
                is_large = file.size_bytes >= _ZIP64_FROM_BYTES
                with open_served(file) as source, archive.open(_entry(name), "w", force_zip64=is_large) as target:
                    while chunk := source.read(_READ_BYTES):
                        target.write(chunk)
                        yield from sink.take(_PIECE_BYTES)
            if md5_of is not None:
                lines = [f"{name},{md5_of(file).hex()}\n" for file, name in zip(files, names, strict=True)]
                archive.writestr(_entry("md5hashes.csv"), "".join(["Filename,MD5Hash\n", *lines]))
        except (OSError, DiskError) as error:
            on_failure(str(error))
    yield from sink.take(1)


class _Sink(io.RawIOBase):
    """The output of `zipfile`. It cannot seek, so lengths and checksums are written after the data."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: Any, /) -> int:
        self._pieces.append(data)
        self._size += len(data)
        return len(data)

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
