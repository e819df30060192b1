"""Write the instances of a request to partial files while they arrive. Everything here blocks."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from typing import Final, Protocol

from bulkdl.archive.dicomweb.multipart import MultipartReader
from bulkdl.model.bundles import BundleEvent, BundleLimits, EntryData, EntryEnded, EntryStarted
from bulkdl.runtime.disk import disk_errors
from bulkdl.server.reception import Reception

MOST_BYTES: Final = 4 << 30
"""The largest request."""
_LIMITS: Final = BundleLimits(max_entry_bytes=MOST_BYTES, max_total_bytes=MOST_BYTES, max_entries=10_000)


class _PartReader(Protocol):
    def feed(self, chunk: bytes) -> Iterable[BundleEvent]: ...
    def close(self) -> Iterable[BundleEvent]: ...


class _BareInstance:
    """A body that is one instance, read as if it were the only part of several."""

    def __init__(self) -> None:
        self._size_bytes = 0

    def feed(self, chunk: bytes) -> Iterable[BundleEvent]:
        if not self._size_bytes:
            yield EntryStarted(1, "", None)
        self._size_bytes += len(chunk)
        yield EntryData(chunk)

    def close(self) -> Iterable[BundleEvent]:
        if self._size_bytes:
            yield EntryEnded(1, self._size_bytes)


class Spool:
    """The partial files of one request. Feed it the body, then `close` it; `discard` removes what is not taken.

    With a `content_type`, the body is multipart; without one it is one instance.

    Raises:
        BundleError: the body is damaged, incomplete or exceeds a limit.
        DiskError: a file cannot be written.
    """

    def __init__(self, reception: Reception, content_type: str | None) -> None:
        self._reception = reception
        is_bare = content_type is None
        self._reader: _PartReader = _BareInstance() if is_bare else MultipartReader(content_type or "", limits=_LIMITS)
        self._file: FileIO | None = None
        self.names: list[str] = []

    def feed(self, chunk: bytes) -> None:
        """Write what the next bytes of the body hold."""
        self._take(self._reader.feed(chunk))

    def close(self) -> None:
        """The body has ended."""
        self._take(self._reader.close())

    def _take(self, events: Iterable[BundleEvent]) -> None:
        for event in events:
            if isinstance(event, EntryStarted):
                self.names.append(name := self._reception.next_name())
                self._file = self._reception.partials.create(name)
            elif isinstance(event, EntryData) and self._file is not None:
                self._write(self._file, event.data)
            elif self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, file: FileIO, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        with disk_errors("write", self._reception.partials.folder):
            while rest:
                rest = rest[file.write(rest) or 0 :]

    def discard(self) -> None:
        """Remove the files that are there still. Never raises a DiskError."""
        if self._file is not None:
            self._file.close()
        for name in self.names:
            with suppress(OSError):
                self._reception.partials.path(name).unlink()
