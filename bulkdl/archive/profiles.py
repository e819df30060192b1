"""Find the profile of an archive by its name or address: where it is, and of which kind.

The kind of a base address is known by its path, or stated as `KIND+URL`. Names from the caller's configuration are
passed in as a mapping of names to addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from bulkdl.errors import ConfigurationError
from bulkdl.model.access import DEMOS, Route
from bulkdl.model.text import did_you_mean

ROUTED: Final = "routed"
"""The kind of an archive whose Series come from IDC, or from NBIA v4 at its address."""

DRS: Final = "drs"
"""The kind of a data commons of Gen3, whose objects have DRS identifiers."""

DICOMWEB: Final = "dicomweb"
"""The kind of a server of DICOMweb (PS3.18); only an address with this kind before it names one."""

_NBIA: Final = "https://nbia.cancerimagingarchive.net/nbia-api/services"

BUILT_IN: Final[Mapping[str, str]] = {
    "tcia": f"routed+{_NBIA}",
    "nbia": f"nbia-v4+{_NBIA}",
    "nbia-v1": f"nbia-v1+{_NBIA}",
    "nbia-v2": f"nbia-v2+{_NBIA}",
    "tcia-v3": "tcia-v3+https://services.cancerimagingarchive.net/services/v3",
    "tcia-v3-test": "tcia-v3+https://services-test.cancerimagingarchive.net/services/v3",
    "nlst": "nbia-v4+https://nlst.cancerimagingarchive.net/nbia-api/services",
    "idc": "idc+https://s3.us-east-1.amazonaws.com",
    "idc-gcs": "idc-gcs+https://storage.googleapis.com",
    "crdc": "drs+https://nci-crdc.datacommons.io",
    "pathdb": "pathdb+https://pathdb.cancerimagingarchive.net",
}

_HOST: Final = re.compile(r"[\w.:-]+", re.ASCII)  # names of other alphabets in their xn-- form

_KINDS: Final = ("nbia", "nbia-v1", "nbia-v2", "nbia-v4", "tcia-v3", "idc", "idc-gcs", DRS, "pathdb", DICOMWEB, ROUTED)

# Ends of paths by which a kind is known. Bindaas, the platform of TCIA v3, has a resource behind the version.
_NBIA_ADDRESS: Final = re.compile(r"(?P<base>/nbia-api/services)(?:/(?P<version>v[124]))?$")
_TCIA_ADDRESS: Final = re.compile(r"/services/v[34]/(?:TCIA|SharedList)(?:/query)?$")
_TCIA_ENDPOINTS: Final = re.compile(r"(?:/(?:TCIA|SharedList)(?:/query)?)?$")


@dataclass(frozen=True, slots=True)
class Profile:
    """An archive. `url` is the base address with a slash at its end; paths of requests are relative to it.

    `form` makes the archive from the profile and an HTTP client, where it is not one of the built-in kinds. `index` is
    the path or the address of the index of an archive of IDC, None for the installed one; `cache` is the folder for
    what is downloaded once. An archive with a `route` consists of two `parts`, IDC and NBIA.
    """

    name: str
    url: str
    kind: str
    form: Callable[..., Any] | None = None
    index: str | None = None
    cache: Path | None = None
    route: Route = Route.IDC_FIRST
    parts: tuple[Profile, ...] = ()
    supporting: bool = False  # with the supporting data of its Collections

    @property
    def netloc(self) -> str:
        """The host and the port of the address."""
        return urlsplit(self.url).netloc.casefold()

    @property
    def with_endpoints(self) -> Profile:
        """The profile of the archive whose endpoints can be called: this one, or the part that is NBIA."""
        return self.parts[-1] if self.parts else self

    def using(self, *, index: str | None, cache: Path, route: Route) -> Profile:
        """The profile with what else the caller chooses, in its parts, too."""
        parts = tuple(part.using(index=index, cache=cache, route=route) for part in self.parts)
        return replace(self, index=index, cache=cache, route=route, parts=parts)


def find_profile(
    name_or_url: str,
    configured: Mapping[str, str] | None = None,
    *,
    forms: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
) -> Profile:
    """Find the profile of that name, or of that address. `forms` are kinds of archives beside the built-in ones.

    Raises:
        ConfigurationError: there is no such profile, or the kind of the address is unknown.
    """
    known = {**BUILT_IN, **(configured or {})}
    if "://" not in name_or_url:
        if name_or_url not in known:
            hint = did_you_mean(name_or_url, [*known, *DEMOS])
            names = ", ".join(sorted([*known, *DEMOS]))
            raise ConfigurationError(f"there is no archive profile {name_or_url!r}{hint} (known: {names}, or a URL)")
        found = _from_address(known[name_or_url], name_or_url, forms)
    else:
        found = _from_address(name_or_url, name_or_url, forms)
    if found.kind != ROUTED:
        return found
    nbia = replace(found, name="nbia", kind="nbia-v4")
    if found.url == f"{_NBIA}/":  # which the configuration may define anew
        nbia = _from_address(known["nbia"], "nbia", forms)
    return replace(found, url=nbia.url, parts=(_from_address(known["idc"], "idc", forms), nbia))


_PREFIXES: Final = {"dg.4dfc": "crdc"}  # of compact identifiers, in lower case


def commons_of(host: str, prefix: str, configured: Mapping[str, str]) -> str | None:
    """The name of the profile of a data commons: that of the `host`, or without one that of the `prefix`.

    A profile of the configuration may be called as a prefix. None if no profile is that of such a data commons: others
    are never asked, because a manifest could name any host.
    """
    addresses = {name: address for name, address in {**BUILT_IN, **configured}.items() if address.startswith("drs+")}
    if not host:
        names = {**_PREFIXES, **{name.casefold(): name for name in addresses}}
        return names.get(prefix.casefold())
    return next((name for name, address in addresses.items() if urlsplit(address[4:]).netloc.casefold() == host), None)


def _from_address(address: str, name: str, forms: Mapping[str, Callable[..., Any]]) -> Profile:
    kind, plus, rest = address.partition("+")
    if not (plus and "://" not in kind):
        kind, rest = "", address
    stated = kind
    try:
        parts = urlsplit(rest)
        host = parts.hostname or ""
        if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host) or parts.port == 0:
            raise ValueError("scheme, host or port")  # noqa: TRY301 - handled like what urlsplit refuses
        host.encode("idna").decode("idna")  # which is what a resolver and the HTTP client do with it
    except ValueError as error:
        raise ConfigurationError(f"{_without_secrets(rest)!r} is not an http or https address") from error
    if parts.username or parts.password:
        raise ConfigurationError(
            "an archive's address must not hold a name or password: it would be printed and stored"
        )
    path = parts.path.rstrip("/")
    kind, path = _kind_of(path, kind)
    if kind not in _KINDS and kind not in forms:
        problem = f"{kind!r} is not a kind of archive" if kind else "its path matches no kind of archive"
        kinds = ", ".join((*_KINDS, *forms))
        hint = f"use …/nbia-api/services or …/services/v3/TCIA, or KIND+URL with KIND one of {kinds}"
        raise ConfigurationError(f"{_without_secrets(rest)!r}: {problem}; {hint}")
    if name == address:  # runs are recorded and resumed by this name
        name = f"{stated}{'+' if stated else ''}{urlunsplit((parts.scheme, parts.netloc, parts.path, '', ''))}"
    return Profile(name, urlunsplit((parts.scheme, parts.netloc, f"{path}/", "", "")), kind, forms.get(kind))


def _kind_of(path: str, kind: str) -> tuple[str, str]:
    """The kind of the archive at `path`, unless `kind` states it; and the path of its base address."""
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
