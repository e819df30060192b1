"""From a name or an address to an archive: where it is, and which dialect it speaks.

A base address is recognised by its path; `KIND+URL` says it outright. Whatever the caller's configuration adds is
handed in as a mapping of names to addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from bulkdl.archive.nbia.dialect import Dialect
from bulkdl.archive.nbia.dialects import DIALECTS
from bulkdl.errors import ConfigurationError
from bulkdl.model.access import DEMO
from bulkdl.model.text import did_you_mean

_NBIA: Final = "https://nbia.cancerimagingarchive.net/nbia-api/services"

BUILT_IN: Final[Mapping[str, str]] = {
    "tcia": f"nbia-v4+{_NBIA}",
    "nbia-v1": f"nbia-v1+{_NBIA}",
    "nbia-v2": f"nbia-v2+{_NBIA}",
    "tcia-v3": "tcia-v3+https://services.cancerimagingarchive.net/services/v3",
    "tcia-v3-test": "tcia-v3+https://services-test.cancerimagingarchive.net/services/v3",
    "nlst": "nbia-v4+https://nlst.cancerimagingarchive.net/nbia-api/services",
}

_HOST: Final = re.compile(r"[\w.:-]+", re.ASCII)  # names of other alphabets in their xn-- form

# Ends of paths that tell what is spoken there. Bindaas, the platform of TCIA v3, names a resource behind the version.
_NBIA_ADDRESS: Final = re.compile(r"(?P<base>/nbia-api/services)(?:/(?P<version>v[124]))?$")
_TCIA_ADDRESS: Final = re.compile(r"/services/v[34]/(?:TCIA|SharedList)(?:/query)?$")
_TCIA_ENDPOINTS: Final = re.compile(r"(?:/(?:TCIA|SharedList)(?:/query)?)?$")


@dataclass(frozen=True, slots=True)
class Profile:
    """An archive. `url` is the base address with a slash at its end; paths of requests are relative to it."""

    name: str
    url: str
    kind: str

    def dialect(self) -> Dialect:
        """The dialect it speaks."""
        return DIALECTS[self.kind]()


def find_profile(name_or_url: str, configured: Mapping[str, str] | None = None) -> Profile:
    """The profile of that name, or of that address.

    Raises:
        ConfigurationError: no such profile, or an address whose path tells no dialect.
    """
    known = {**BUILT_IN, **(configured or {})}
    if "://" not in name_or_url:
        if name_or_url not in known:
            hint = did_you_mean(name_or_url, [*known, DEMO])
            names = ", ".join(sorted([*known, DEMO]))
            raise ConfigurationError(f"there is no archive profile {name_or_url!r}{hint} (known: {names}, or a URL)")
        return _from_address(known[name_or_url], name=name_or_url)
    return _from_address(name_or_url, name=name_or_url)


def _from_address(address: str, *, name: str) -> Profile:
    kind, plus, rest = address.partition("+")
    if not (plus and "://" not in kind):
        kind, rest = "", address
    said = kind
    try:
        parts = urlsplit(rest)
        if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(parts.hostname or "") or parts.port == 0:
            raise ValueError("scheme, host or port")  # noqa: TRY301 - told like what urlsplit refuses
    except ValueError as error:
        raise ConfigurationError(f"{_without_secrets(rest)!r} is no http or https address") from error
    if parts.username or parts.password:
        raise ConfigurationError("an archive's address may not hold a name or password: it would be printed and kept")
    path = parts.path.rstrip("/")
    kind, path = _told_by(path, kind)
    if kind not in DIALECTS:
        told = f"{kind!r} is no kind of archive" if kind else "its path tells no kind of archive"
        hint = f"use …/nbia-api/services or …/services/v3/TCIA, or KIND+URL with KIND one of {', '.join(DIALECTS)}"
        raise ConfigurationError(f"{_without_secrets(rest)!r}: {told}; {hint}")
    if name == address:  # a run goes by this name, and is resumed by it
        name = f"{said}{'+' if said else ''}{urlunsplit((parts.scheme, parts.netloc, parts.path, '', ''))}"
    return Profile(name, urlunsplit((parts.scheme, parts.netloc, f"{path}/", "", "")), kind)


def _told_by(path: str, kind: str) -> tuple[str, str]:
    """What is spoken at `path`, unless `kind` says so, and the path with no more than the base address of that."""
    if kind == "tcia-v3" or (not kind and _TCIA_ADDRESS.search(path)):
        return "tcia-v3", _TCIA_ENDPOINTS.sub("", path)
    found = _NBIA_ADDRESS.search(path)
    if found is None:
        return kind, path
    version = found["version"]
    return kind or (f"nbia-{version}" if version else "nbia"), path[: found.end("base")]


def _without_secrets(address: str) -> str:
    scheme, slashes, rest = address.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"
