"""Values of services as plain text, numbers and lists. They come in many forms; nothing here fails.

The Collection Manager writes texts with HTML, numbers as texts, `false` for "empty", lists of texts, and objects such
as `{"label": …, "url": …}`. Any value of DataCite may be null.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from bulkdl.model.text import one_line, shortened

_TAG: Final = re.compile(r"</?[a-zA-Z!][^<>]*>")
_NAMES: Final = ("label", "title", "name", "rendered", "post_title", "url")
_DEPTH: Final = 4
_MOST_CHARACTERS: Final = 100_000
_MOST_VALUES: Final = 10_000
_LONGEST_ADDRESS: Final = 4_000
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?", re.ASCII)
_FALSE: Final = frozenset({"", "0", "false", "no", "none", "null"})


def text_of(value: Any) -> str:
    """A value as text without HTML, on one line: several values with `, ` between them; empty for anything else."""
    return ", ".join(texts_of(value))


def texts_of(value: Any, depth: int = _DEPTH) -> tuple[str, ...]:
    """The texts of a value, each once, in their order."""
    if isinstance(value, str):
        found = [_plain(value)]
    elif isinstance(value, list) and depth:
        found = [text for each in value[:_MOST_VALUES] for text in texts_of(each, depth - 1)]
    elif isinstance(value, Mapping) and depth:
        named = (texts_of(value[name], depth - 1) for name in _NAMES if name in value)
        found = list(next((texts for texts in named if texts), ()))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = [str(value)]
    else:
        found = []
    return tuple(dict.fromkeys(text for text in found if text))


def _plain(text: str) -> str:
    without = html.unescape(_TAG.sub(" ", text[:_MOST_CHARACTERS]))
    return one_line(re.sub(r"\s+([.,;:)])", r"\1", without))


def decimal_of(value: Any) -> float | None:
    """A number that is not negative, also one in a text such as `1,234` or `5.4`; None for anything else."""
    found = _NUMBER.fullmatch(text_of(value).replace(",", "").strip())
    return float(found[0]) if found is not None else None


def number_of(value: Any) -> int | None:
    """As `decimal_of`, for a whole number."""
    found = decimal_of(value)
    return int(found) if found is not None and found.is_integer() else None


def is_true(value: Any) -> bool:
    """Whether a flag is set: not empty, and not one of the many forms of "no"."""
    return value is True or text_of(value).casefold() not in _FALSE


def address_of(value: Any) -> str | None:
    """A web address, of at most 4,000 characters and without blanks; None for anything else."""
    text = value.get("url") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        return None
    address = html.unescape(text).strip()
    if len(address) > _LONGEST_ADDRESS or not address.isprintable() or " " in address:
        return None
    with suppress(ValueError):
        parts = urlsplit(address)
        return address if parts.scheme in {"http", "https"} and parts.hostname else None
    return None


def cut(text: str, characters: int) -> str | None:
    """A text of at most so many characters; None for an empty one."""
    return shortened(text, characters) or None


def objects_of(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; of an object itself."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values[:_MOST_VALUES] if isinstance(each, Mapping)]
