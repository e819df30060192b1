"""The first bytes of a DICOM file: a preamble of 128 bytes, then the prefix `DICM` (PS3.10 §7.1)."""

from typing import Final

PREAMBLE_BYTES: Final = 128
PREFIX: Final = b"DICM"
HEAD_BYTES: Final = PREAMBLE_BYTES + len(PREFIX)
"""How many bytes `is_dicom` needs."""
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"  # Deflated Explicit VR Little Endian, in the meta information
_META_BYTES: Final = 1024


def is_dicom(content: bytes | bytearray) -> bool:
    """Whether `content` begins as a DICOM file does."""
    return content[PREAMBLE_BYTES:HEAD_BYTES] == PREFIX


def is_bare_data_set(content: bytes | bytearray) -> bool:
    """Whether `content` begins as a data set without preamble and prefix: an element of group 0002 or 0008 comes first.

    Scanners and old programs write such files (PS3.5 §7.1: little-endian tag, then a VR or a length).
    """
    is_first = content[:2] in {b"\x02\0", b"\x08\0"} and content[3:4] == b"\0"
    has_vr = content[4:6].isalpha() and content[4:6].isupper()
    return is_first and (has_vr or int.from_bytes(content[4:8], "little") <= PREAMBLE_BYTES)


def may_inflate(head: bytes) -> bool:
    """Whether the file that begins with `head` may take far more memory than its size: its data set is deflated."""
    return _DEFLATED in head[:_META_BYTES]
