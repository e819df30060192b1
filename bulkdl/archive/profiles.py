"""From a name or an address to an archive: where it is, and which dialect it speaks.

A base address is recognised by its path; `KIND+URL` says it outright. Whatever the caller's configuration adds is
handed in as a mapping of names to addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from bulkdl.archive.dialect import Dialect
from bulkdl.archive.nbia import NbiaV1
from bulkdl.errors import ConfigurationError

DEMO: Final = "demo"
DEFAULT: Final = "tcia"

BUILT_IN: Final[Mapping[str, str]] = {
    "tcia": "nbia-v1+https://nbia.cancerimagingarchive.net/nbia-api/services",
    "nbia-v1": "nbia-v1+https://nbia.cancerimagingarchive.net/nbia-api/services",
    "nlst": "nbia-v1+https://nlst.cancerimagingarchive.net/nbia-api/services",
}

_HOST: Final = re.compile(r"[\w.:-]+", re.ASCII)  # names of other alphabets in their xn-- form

_DIALECTS: Final[Mapping[str, type[NbiaV1]]] = {"nbia-v1": NbiaV1, "nbia": NbiaV1}


@dataclass(frozen=True, slots=True)
class Profile:
    """An archive. `url` is the base address with a slash at its end; paths of requests are relative to it."""

    name: str
    url: str
    kind: str

    def dialect(self) -> Dialect:
        """The dialect it speaks."""
        return _DIALECTS[self.kind]()


def find_profile(name_or_url: str, configured: Mapping[str, str] | None = None) -> Profile:
    """The profile of that name, or of that address.

    Raises:
        ConfigurationError: no such profile, or an address whose path tells no dialect.
    """
    known = {**BUILT_IN, **(configured or {})}
    if "://" not in name_or_url:
        if name_or_url not in known:
            guesses = get_close_matches(name_or_url, [*known, DEMO], n=1)
            hint = f"; did you mean {guesses[0]}?" if guesses else ""
            names = ", ".join(sorted([*known, DEMO]))
            raise ConfigurationError(f"there is no archive profile {name_or_url!r}{hint} (known: {names}, or a URL)")
        return _from_address(known[name_or_url], name=name_or_url)
    return _from_address(name_or_url, name=name_or_url)


def _from_address(address: str, *, name: str) -> Profile:
    kind, plus, rest = address.partition("+")
    if not (plus and "://" not in kind):
        kind, rest = "", address
    try:
        parts = urlsplit(rest)
        if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(parts.hostname or "") or parts.port == 0:
            raise ValueError("scheme, host or port")  # noqa: TRY301 - told like what urlsplit refuses
    except ValueError as error:
        raise ConfigurationError(f"{_without_secrets(rest)!r} is no http or https address") from error
    if parts.username or parts.password:
        raise ConfigurationError("an archive's address may not hold a name or password: it would be printed and kept")
    path = parts.path.rstrip("/")
    if path.endswith("/nbia-api/services/v1"):
        kind, path = kind or "nbia-v1", path.removesuffix("/v1")
    elif path.endswith("/nbia-api/services"):
        kind = kind or "nbia"
    if kind not in _DIALECTS:
        told = f"{kind!r} is no kind of archive" if kind else "its path tells no kind of archive"
        hint = f"use …/nbia-api/services, or KIND+URL with KIND one of {', '.join(_DIALECTS)}"
        raise ConfigurationError(f"{_without_secrets(rest)!r}: {told}; {hint}")
    return Profile(
        name if name != address else rest, urlunsplit((parts.scheme, parts.netloc, f"{path}/", "", "")), kind
    )


def _without_secrets(address: str) -> str:
    scheme, slashes, rest = address.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"
