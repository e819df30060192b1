"""Where an instance is below the mirror's folder: series → relative folder, SOP Instance UID → file name. Pure.

A path is made one component at a time, and every component is safe on every common file system (ext4, XFS, APFS, NTFS,
exFAT, SMB): no separators, no control or invisible characters, no device names of Windows, no blanks or dots at the
ends, Unicode NFC, at most 240 bytes. Three rules keep different ids apart:

- A UID holds digits and dots only; dots at its ends become `_`, one for one. Nothing else is needed.
- A safe text does not change: `TCGA-GBM` stays `TCGA-GBM`. An unsafe one is cleaned and gets `~` and eight hexadecimal
  digits of the SHA-256 of the original text. A text that contains `~` gets them too, so that it cannot look like a
  cleaned one.
- Two safe texts may still be the same name on a file system that ignores case (`abc`, `ABC`). A function of one name
  cannot know that, so the keeper of the names (the journal) answers the question `taken`, with the key `fold`; the
  second name then gets the hash too.

Every Series has a separate folder, because every layout must contain `{series}` unambiguously.

Sources: device names and forbidden characters: Microsoft, "Naming Files, Paths, and Namespaces"; APFS rejects
unassigned code points and ext4 with casefold ignores the default-ignorable ones (documentation of the file systems).
"""

import hashlib
import re
import string
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bulkdl.errors import LayoutError
from bulkdl.model.ids import default_file_name
from bulkdl.model.records import Series

_FORBIDDEN = frozenset('/\\<>:"|?*\x7f')
_DEVICE = re.compile(
    r"(CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|COM[0-9]|LPT[0-9]) *(\..*)?", re.IGNORECASE | re.DOTALL
)
# Invisible marks and letters, which some file systems ignore when they compare names.
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_TEXT_BYTES = 100
_LEAST_TEXT_BYTES = 24
_UID_BYTES = 64
_COMPONENT_BYTES = 240
_SUFFIX_BYTES = 9
_NO_UID = "unknown"

_UIDS: Final = {"series": "series_uid", "study": "study_uid"}
FIELDS: Final = {
    **_UIDS,
    "collection": "collection",
    "patient": "patient_id",
    **{name: name for name in ("modality", "body_part", "manufacturer", "model", "protocol", "description")},
    **{name: name for name in ("series_number", "series_date", "study_description", "study_date")},
}
"""The fields of a template, and the attribute of `Series` that fills each."""

LAYOUTS: Final = {
    "tcia": "{collection}/{patient}/{study}/{series}",
    # The "classic" folders of the NBIA Data Retriever (LocalSeriesDownloader.java): the same four levels.
    "nbia": "{collection}/{patient}/{study}/{series}",
    # Like its "descriptive" folders, with complete UIDs: the last five characters that it keeps are not unique.
    "descriptive": (
        "{collection}/{patient}/{study_date}-{study_description}-{study}/{series_number}-{description}-{series}"
    ),
    "flat": "{series}",
}
"""The named templates."""


def fold(path: str) -> str:
    """The key of paths that some file system takes for one: without case, in one form of Unicode."""
    key = path
    for _ in range(3):  # NFKC may produce a letter with case, and case mapping may undo NFKC
        key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).upper().casefold())
    return key


def instance_name(sop_uid: str) -> str:
    """The file name of an instance in the folder of its Series."""
    return default_file_name(uid_component(sop_uid))


def special_name(sop_uid: str) -> str | None:
    """The file name of an instance if it differs from `default_file_name`: the journal keeps no other."""
    name = instance_name(sop_uid)
    return name if name != default_file_name(sop_uid) else None


def uid_component(uid: str) -> str:
    """A UID as a component of a path, changed only where it begins or ends with dots; different UIDs stay different."""
    return _underscored_ends(uid, ".")


def _underscored_ends(name: str, characters: str) -> str:
    """`name` with `_` for each of the `characters` at its ends."""
    if (inner := name.strip(characters)) == name:
        return name
    before = len(name) - len(name.lstrip(characters))
    return "_" * before + inner + "_" * (len(name) - before - len(inner))


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a template, the attribute of `Series` that fills it, and how many bytes a text may take."""

    attribute: str
    is_uid: bool
    limit_bytes: int = _TEXT_BYTES


@dataclass(frozen=True, slots=True)
class Layout:
    """A template of folders, as `parse_layout` makes it. `template` is its text."""

    template: str
    components: tuple[tuple[str | _Field, ...], ...]

    def folder(self, series: Series, *, taken: Callable[[str, str], bool] | None = None) -> str:
        """The folder of `series`, relative to the mirror, with `/`.

        `taken(key, owner)` is called for each folder on the way down whose name holds text: does another owner have the
        folder whose `fold`ed path is `key`? If so, this name gets the hash of its original text. `owner` is an opaque
        key of the original names. The callee remembers the first owner of each key, so the folders stay the same.
        """
        path = ""
        for component in self.components:
            name, true_text = _render(component, series)
            if taken is not None and true_text is not None:
                owner = hashlib.sha256(f"{path}/{true_text}".encode("utf-8", "surrogatepass")).hexdigest()
                if taken(fold(path + name), owner):
                    name = _suffixed(_cleaned(name), true_text, limit=_COMPONENT_BYTES)
            path += f"{name}/"
        return path.removesuffix("/")


def parse_layout(text: str) -> Layout:
    """Read a layout: `tcia` (the default), `nbia`, `descriptive`, `flat`, or a template.

    A template is folders with `/` between them, made of fields and of plain text: `{patient}/{study_date}-{series}`.

    Raises:
        LayoutError: an unknown field or name, text that is not safe in a file name, a name that may be too long, or a
            template that could put two Series into one folder: `{series}` must begin or end the name of a folder,
            separated from its neighbour by a character that UIDs do not contain, such as `-`.
    """
    template = LAYOUTS.get(text, text)
    if "{" not in template:
        raise LayoutError(
            f"{text!r} is not a layout: known are {', '.join(LAYOUTS)}, and templates such as {LAYOUTS['tcia']}"
        )
    components = tuple(_parse_component(component, template) for component in template.split("/"))
    if not any(_tells_series_apart(component) for component in components):
        raise LayoutError(
            f"the layout {text!r} does not keep two Series apart: one folder's name must begin or end with {{series}}, "
            "with a character such as - between it and the rest"
        )
    return Layout(template, components)


def _parse_component(text: str, template: str) -> tuple[str | _Field, ...]:
    parts: list[str | _Field] = []
    try:
        for literal, name, spec, conversion in string.Formatter().parse(text):
            if literal:
                parts.append(literal)
            if name is None:
                continue
            if spec or conversion or name not in FIELDS:
                shown = f"{name}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}"
                raise LayoutError(f"{{{shown}}} is not a field of a layout: known are {', '.join(FIELDS)}")
            parts.append(_Field(FIELDS[name], name in _UIDS))
    except ValueError as error:
        raise LayoutError(f"the layout {template!r} cannot be read: {error}") from error
    probe = "".join(part if isinstance(part, str) else "x" for part in parts)
    if not probe or _cleaned(probe) != probe or "~" in fold(probe):
        raise LayoutError(f"{text!r} in the layout {template!r} is not safe as a folder's name on every file system")
    return _with_limits(parts, text)


def _with_limits(parts: list[str | _Field], text: str) -> tuple[str | _Field, ...]:
    """Divide the length of a folder's name among its text fields, after the UIDs and the literal text."""
    texts = [part for part in parts if isinstance(part, _Field) and not part.is_uid]
    fixed = sum(len(part.encode()) if isinstance(part, str) else _UID_BYTES * part.is_uid for part in parts)
    room = _COMPONENT_BYTES - _SUFFIX_BYTES - 1 - fixed  # `_render` may add a suffix, and `_cleaned` one character
    limit = min(_TEXT_BYTES, room // max(len(texts), 1))
    if room < 0 or limit < _LEAST_TEXT_BYTES:
        raise LayoutError(f"{text!r} is too long for the name of one folder: split it with /")
    return tuple(replace(part, limit_bytes=limit) if isinstance(part, _Field) else part for part in parts)


def _tells_series_apart(component: tuple[str | _Field, ...]) -> bool:
    def is_series(part: str | _Field) -> bool:
        return isinstance(part, _Field) and part.attribute == _UIDS["series"]

    def parts_it(text: str | _Field, edge: int) -> bool:
        return isinstance(text, str) and text[edge] not in "0123456789._"

    if len(component) == 1:
        return is_series(component[0])
    return (is_series(component[0]) and parts_it(component[1], 0)) or (
        is_series(component[-1]) and parts_it(component[-2], -1)
    )


def _render(component: tuple[str | _Field, ...], series: Series) -> tuple[str, str | None]:
    """The safe name of one folder, and its original text: None if it holds only UIDs."""
    name, true_text, has_text = "", "", False
    for part in component:
        if isinstance(part, str):
            name += part
            true_text += part
            continue
        value = getattr(series, part.attribute)
        text = "" if value is None else str(value)
        if part.is_uid:
            name += uid_component(text) if text else _NO_UID
        else:
            has_text = True
            name += _safe(text, part.limit_bytes)
        true_text += f"\0{text}\0"  # so that "a" + "bc" and "ab" + "c" differ
    if not has_text:
        return name, None
    if (cleaned := _cleaned(name)) != name:  # parts that are safe alone may be unsafe together: `CO` and `N`
        name = _suffixed(cleaned, true_text, limit=_COMPONENT_BYTES)
    return name, true_text


def _safe(text: str, limit: int) -> str:
    if not text:
        return "_"
    cleaned = _cleaned(text)
    if cleaned == text and text != "_" and len(text.encode()) <= limit and "~" not in fold(text):
        return text
    return _suffixed(cleaned, text, limit=limit)


def _cleaned(text: str) -> str:
    """`text` with its unsafe characters replaced; returns safe text unchanged."""
    name = "".join("_" if _is_unsafe(character) else character for character in unicodedata.normalize("NFC", text))
    name = _underscored_ends(name, " .")
    return f"_{name}" if _DEVICE.fullmatch(unicodedata.normalize("NFKC", name)) else name


def _suffixed(cleaned: str, true_text: str, *, limit: int) -> str:
    kept = cleaned.encode()[: limit - _SUFFIX_BYTES].decode(errors="ignore")
    return f"{kept}~{hashlib.sha256(true_text.encode('utf-8', 'surrogatepass')).hexdigest()[: _SUFFIX_BYTES - 1]}"


def _is_unsafe(character: str) -> bool:
    if character.isascii():
        return character in _FORBIDDEN or character < " "
    if unicodedata.category(character)[0] in "CZ" or _IGNORABLE.match(character):
        return True
    # Programs that convert to an older code page turn a full-width solidus into a plain one.
    plain = unicodedata.normalize("NFKC", character)
    return any(c in _FORBIDDEN or c < " " or c == "." for c in plain)


DEFAULT_LAYOUT: Final = parse_layout("tcia")
