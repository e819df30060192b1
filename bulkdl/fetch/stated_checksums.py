"""The checksums that a response states of its whole object, compared with the bytes that have arrived.

Google Cloud Storage states `x-goog-hash: crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==`, in one line or in two. Objects
that were composed of several have the CRC-32C alone, and an entity tag that is not an MD5.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bulkdl.errors import ChecksumMismatch

NOT_COMPARED: Final = "compared by size alone: the archive states a CRC-32C, which needs the package crc32c"

_HEADER: Final = "x-goog-hash"
_BYTES: Final = {"md5": 16, "crc32c": 4}
_READ_BYTES: Final = 1 << 20


def stated_checksums(headers: Mapping[str, str]) -> dict[str, bytes]:
    """The checksums by name, `md5` or `crc32c`; what cannot be read is left out."""
    if _HEADER not in headers:
        return {}
    get_all = getattr(headers, "getall", None)
    lines = get_all(_HEADER) if get_all is not None else [headers[_HEADER]]
    found = {}
    for part in ",".join(lines).split(","):
        name, _, text = part.strip().partition("=")
        try:
            value = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(value) == _BYTES.get(name):
            found[name] = value
    return found


def compare_stated(source: bytes | Path, stated: Mapping[str, bytes]) -> bool:
    """Compare bytes, or a file, with the MD5, or else the CRC-32C; False if there is no library for that. Blocking.

    Raises:
        ChecksumMismatch: they are other bytes.
        OSError: the file cannot be read.
    """
    from bulkdl.archive.drs.checksums import crc32c  # noqa: PLC0415 - late: few objects need it

    name = "md5" if "md5" in stated else "crc32c"
    function = crc32c() if name == "crc32c" else None
    if name == "crc32c" and function is None:
        return False
    md5, crc = hashlib.md5(usedforsecurity=False), 0
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            if function is None:
                md5.update(piece)
            else:
                crc = function(piece, crc)
    found = md5.digest() if function is None else crc.to_bytes(_BYTES["crc32c"], "big")
    if found != stated[name]:
        kind = "MD5" if name == "md5" else "CRC-32C"
        raise ChecksumMismatch(f"the {kind} is {found.hex()}, the archive states {stated[name].hex()}")
    return True
