"""Take secrets out of texts that are shown, before anything cuts them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

_ESCAPED_FOR_HTML: Final = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&'"}
_FEWEST: Final = 4  # letters at the end of a text that count as the beginning of a secret


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text without `secrets`, in plain form or as URLs, HTML and JSON write them.

    A text may end within a secret, because it was cut or is still arriving: that beginning is removed as well.
    """
    forms = sorted({form for secret in secrets for form in _forms_of(secret)}, key=len, reverse=True)
    for form in forms:
        text = text.replace(form, "…")
    end = text.removesuffix("…")  # which marks a text that was cut
    for form in forms:
        for length in range(len(form) - 1, _FEWEST - 1, -1):
            if end.endswith(form[:length]):
                return f"{end[:-length]}…"
    return text


def _forms_of(secret: str) -> Iterator[str]:
    import html  # noqa: PLC0415 - late: most archives are asked without a secret

    for form in (secret, quote(secret, safe=""), quote(secret), html.escape(secret), json.dumps(secret)[1:-1]):
        yield form
        yield form.lower()
    escaped = json.dumps(secret)[1:-1].translate(_ESCAPED_FOR_HTML)
    yield escaped
    yield escaped.replace("\\", "\\\\")  # as Python shows it
