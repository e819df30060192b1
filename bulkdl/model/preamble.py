"""The first bytes of a DICOM file: a preamble of 128 bytes, then the prefix `DICM` (PS3.10 §7.1)."""

from __future__ import annotations

from typing import Final

PREAMBLE_BYTES: Final = 128
PREFIX: Final = b"DICM"
HEAD_BYTES: Final = PREAMBLE_BYTES + len(PREFIX)
"""How many bytes `is_dicom` needs."""


def is_dicom(content: bytes | bytearray) -> bool:
    """Whether `content` begins as a DICOM file does."""
    return content[PREAMBLE_BYTES:HEAD_BYTES] == PREFIX
