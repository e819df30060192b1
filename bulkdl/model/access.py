"""Which archive to use, and how to reach it: address, proxy, certificates, time limits, credentials."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

DEFAULT_ARCHIVE: Final = "tcia"
IDC: Final = "idc"
"""The Imaging Data Commons, whose index is downloaded or installed."""
PATHDB: Final = "pathdb"
"""The archive of pathology slides."""
DEMO: Final = "demo"
DEMO_IDC: Final = "demo-idc"
DEMO_PATHDB: Final = "demo-pathdb"
DEMOS: Final = (DEMO, DEMO_IDC, DEMO_PATHDB)
"""The names of the demonstration archive, which runs in this process: as one of NBIA, of the IDC's form, and PathDB."""
CLIENTS: Final = "DICOMweb clients"
"""The name in a journal of what clients stored at `serve --accept-store`: no archive that could be asked."""


class Route(StrEnum):
    """Where the Series of TCIA come from: IDC or NBIA alone, or the other one for what the first does not have."""

    IDC_FIRST = "idc-first"
    NBIA_FIRST = "nbia-first"
    IDC = "idc"
    NBIA = "nbia"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What identifies the caller. With `is_key_in_query` the API key is sent in the query, not in a header.

    `gen3_key` is that of a user of a data commons, which gives tokens for it.
    """

    api_key: str | None = field(default=None, repr=False)
    is_key_in_query: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    gen3_key: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must not appear in a message."""
        basic = basic_credentials(self.username, self.password) if self.username is not None and self.password else None
        return tuple(secret for secret in (self.api_key, self.password, self.gen3_key, basic) if secret)

    @property
    def authorization(self) -> str | None:
        """The header of RFC 9110 §11.6.2 of an archive without logins: Basic (RFC 7617), or the API key as Bearer."""
        if self.username is not None:
            return f"Basic {basic_credentials(self.username, self.password)}"
        return f"Bearer {self.api_key}" if self.api_key is not None else None


def basic_credentials(username: str, password: str | None) -> str:
    """A name and a password as Basic authentication sends them (RFC 7617, in UTF-8)."""
    return base64.b64encode(f"{username}:{password or ''}".encode()).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach an archive. `proxy` is a URL, `ca_bundle` a PEM file that replaces the system's certificates.

    A request times out when no connection is made within `connect_seconds`, when an answer has not begun within
    `answer_seconds`, when a body sends nothing for `silence_seconds`, or stays slower than `lowest_bytes_per_second`
    for as long. The total time is not limited. `credentials` are sent to the archive's own origin only.
    """

    proxy: str | None = field(default=None, repr=False)  # it may hold a password
    ca_bundle: str | None = None
    connect_seconds: float = 30.0
    answer_seconds: float = 120.0  # an archive builds the listing of a large Collection before it sends it
    silence_seconds: float = 30.0
    lowest_bytes_per_second: float = 1_000.0  # a connection that sends less is treated like one that sends nothing
    credentials: Credentials = field(default_factory=Credentials)

    def bounded(self, seconds: float) -> Self:
        """The same, where no wait is longer than `seconds`."""
        return replace(
            self,
            connect_seconds=min(self.connect_seconds, seconds),
            answer_seconds=min(self.answer_seconds, seconds),
            silence_seconds=min(self.silence_seconds, seconds),
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must not appear in a message: also the proxy's password, in plain and in encoded form."""
        parts = urlsplit(self.proxy or "")
        if not parts.password:
            return self.credentials.secrets
        password = unquote(parts.password)
        sent = basic_credentials(unquote(parts.username or ""), password)
        return (*self.credentials.secrets, parts.password, password, sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveChoice:
    """Which archive, and how to reach it. `name` is an address, or a profile, of the configuration in `profiles`.

    `cache` is the folder for downloaded indexes and the data of the demonstration archive. `forms` are kinds of
    archives beside the built-in ones, by the KIND of `KIND+URL`; worker processes import what makes them by name.
    `idc_index` is the path or the address of the index of IDC, None for the installed or downloaded one. `route` is
    that of an archive with a route, such as `tcia`. `gen3_credentials` is the key file for data commons.
    `agrees`: the user agrees to the terms that the archive demands.
    `supporting`: with the supporting data of its Collections.
    """

    cache: Path
    name: str = DEFAULT_ARCHIVE
    profiles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    access: Access = field(default_factory=Access)
    forms: Mapping[str, Callable[..., Any]] = field(default_factory=lambda: MappingProxyType({}))
    idc_index: str | None = None
    route: Route = Route.IDC_FIRST
    supporting: bool = False
    gen3_credentials: Path | None = None
    agrees: bool = False
