"""Compare the bytes of an object with the size and all checksums of its record, while they arrive."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Final, Protocol

from bulkdl.archive.drs.records import DrsRecord
from bulkdl.errors import ChecksumMismatch

_HASHES: Final = ("md5", "sha1", "sha256", "sha512")
_CRC_BYTES: Final = 4


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc:
    """A checksum of 32 bits, computed by a function of the bytes and the value so far."""

    def __init__(self, function: Callable[[bytes, int], int]) -> None:
        self._function = function
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = self._function(data, self._value)

    def hexdigest(self) -> str:
        return self._value.to_bytes(_CRC_BYTES, "big").hex()


def _digests_of(checksums: Mapping[str, str]) -> dict[str, _Digest]:
    """What computes the checksums that can be computed here: CRC-32C needs one of the libraries for it."""
    found: dict[str, _Digest] = {
        kind: hashlib.new(kind, usedforsecurity=False) for kind in _HASHES if kind in checksums
    }
    if "crc32" in checksums:
        found["crc32"] = _Crc(zlib.crc32)
    if "crc32c" in checksums and (function := crc32c()) is not None:
        found["crc32c"] = _Crc(function)
    return found


def crc32c() -> Callable[[bytes, int], int] | None:
    """A function that continues the CRC-32C of earlier bytes with further ones; None without a library for it."""
    with suppress(ImportError):
        function: Callable[[bytes, int], int] = import_module("crc32c").crc32c
        return function
    with suppress(ImportError):
        extend: Callable[[int, bytes], int] = import_module("google_crc32c").extend
        return lambda data, value: extend(value, data)
    return None


class ComparedBytes:
    """The bytes of one object so far."""

    def __init__(self, record: DrsRecord) -> None:
        self._record = record
        self._digests = _digests_of(record.checksums)
        self.count = 0

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        self.count += len(data)
        for digest in self._digests.values():
            digest.update(data)

    def compare(self) -> None:
        """All bytes have arrived. Raises ChecksumMismatch: they are not those of the record."""
        record = self._record
        if self.count != record.size_bytes:
            raise ChecksumMismatch(f"{self.count:,} bytes, but the record says {record.size_bytes:,}")
        for kind, digest in self._digests.items():
            if (found := digest.hexdigest()) != record.checksums[kind]:
                raise ChecksumMismatch(f"the {kind} is {found}, but the record says {record.checksums[kind]}")
