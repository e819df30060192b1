"""Names that are safe on every common file system (ext4, XFS, APFS, NTFS, exFAT, SMB), one component at a time. Pure.

A safe name has no separators, no control or invisible characters, no blanks or dots at its ends, is not a device name
of Windows, is Unicode NFC, and has at most 240 bytes. Two rules keep different names apart:

- A UID holds digits and dots only; dots at its ends become `_`, one for one. Nothing else is needed.
- A safe text does not change: `TCGA-GBM` stays `TCGA-GBM`. An unsafe one is cleaned and gets `~` and eight hexadecimal
  digits of the SHA-256 of the original text. A text that contains `~` gets them too, so that it cannot look like a
  cleaned one.

Sources: device names and forbidden characters: Microsoft, "Naming Files, Paths, and Namespaces"; APFS rejects
unassigned code points and ext4 with casefold ignores the default-ignorable ones (documentation of the file systems).
"""

import hashlib
import re
import unicodedata
from typing import Final

_FORBIDDEN = frozenset('/\\<>:"|?*\x7f')
_DEVICE = re.compile(
    r"(CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|COM[0-9]|LPT[0-9]) *(\..*)?", re.IGNORECASE | re.DOTALL
)
# Invisible marks and letters, which some file systems ignore when they compare names.
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")

COMPONENT_BYTES: Final = 236
"""How long a component may be; a file has `.dcm` after it."""
SHORTEST_HASH: Final = 8
LONGEST_HASH: Final = 64


def fold(path: str) -> str:
    """The key of paths that some file system takes for one: without case, in one form of Unicode."""
    if path.isascii():
        return path.lower()
    key = path
    for _ in range(3):  # NFKC may produce a letter with case, and case mapping may undo NFKC
        key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).upper().casefold())
    return key


def uid_component(uid: str) -> str:
    """A UID as a component of a path, changed only where it begins or ends with dots; different UIDs stay different."""
    return _underscored_ends(uid, ".")


def safe(text: str, limit_bytes: int) -> str:
    """A text as a part of a component, of at most `limit_bytes`; an empty one is `_`."""
    if not text:
        return "_"
    name = cleaned(text)
    if name == text and text != "_" and len(text.encode()) <= limit_bytes and "~" not in fold(text):
        return text
    return suffixed(name, text, limit_bytes=limit_bytes)


def cleaned(text: str) -> str:
    """`text` with its unsafe characters replaced; returns safe text unchanged."""
    name = "".join("_" if _is_unsafe(character) else character for character in unicodedata.normalize("NFC", text))
    name = _underscored_ends(name, " .")
    return f"_{name}" if _DEVICE.fullmatch(unicodedata.normalize("NFKC", name)) else name


def suffixed(name: str, true_text: str, *, limit_bytes: int = COMPONENT_BYTES, digits: int = SHORTEST_HASH) -> str:
    """A cleaned name with `~` and `digits` of the SHA-256 of what it stands for, cut to `limit_bytes`."""
    kept = name.encode()[: limit_bytes - digits - 1].decode(errors="ignore")
    return f"{kept}~{hashlib.sha256(true_text.encode('utf-8', 'surrogatepass')).hexdigest()[:digits]}"


def _underscored_ends(name: str, characters: str) -> str:
    """`name` with `_` for each of the `characters` at its ends."""
    if (inner := name.strip(characters)) == name:
        return name
    before = len(name) - len(name.lstrip(characters))
    return "_" * before + inner + "_" * (len(name) - before - len(inner))


def _is_unsafe(character: str) -> bool:
    if character.isascii():
        return character in _FORBIDDEN or character < " "
    if unicodedata.category(character)[0] in "CZ" or _IGNORABLE.match(character):
        return True
    # Programs that convert to an older code page turn a full-width solidus into a plain one.
    plain = unicodedata.normalize("NFKC", character)
    return any(c in _FORBIDDEN or c < " " or c == "." for c in plain)
