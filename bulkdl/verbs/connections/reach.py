"""Which archive a verb uses, and how it is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import platformdirs

from bulkdl.archive.auth import GUEST
from bulkdl.archive.connect import capabilities
from bulkdl.archive.profiles import DRS, commons_of, find_profile
from bulkdl.errors import ConfigurationError
from bulkdl.model.access import CLIENTS, DEFAULT_ARCHIVE, DEMOS, Access, ArchiveChoice, Credentials, Route
from bulkdl.model.text import decoded
from bulkdl.runtime.bounded_files import read_file
from bulkdl.verbs.calls.signatures import Paths


def reach(
    archive: str = DEFAULT_ARCHIVE,
    *,
    api_key: str | None = None,
    username: str | None = None,
    password: str | None = None,
    proxy: str | None = None,
    ca_bundle: Paths | None = None,
    profiles: Mapping[str, str] = MappingProxyType({}),
    cache: Paths | None = None,
    idc_index: Paths | None = None,
    route: str = Route.IDC_FIRST,
    gen3_credentials: Paths | None = None,
    agrees: bool = False,
) -> ArchiveChoice:
    """An archive with the settings of its connection. Every verb takes this, or the archive's name or address alone.

    `api_key` is for TCIA v3, a login for NBIA v2 and v4; DICOMweb takes one of them, the key as a bearer token. They
    are sent to this archive only, and no message shows them. `profiles` maps further names to addresses. `cache` is the
    folder of downloaded indexes and of the demonstration archive; the default is the user's cache folder. `idc_index`
    is another index of IDC than the installed one: its Parquet file, the folder of it, or an address. `route` is the
    one of `tcia`: `idc-first`, `nbia-first`, `idc`, `nbia`. `gen3_credentials` is the key file of a data commons of
    Gen3, for the objects of a manifest that need one; `agrees` says that you agree to the data access policy that it
    demands, once for each mirror.
    """
    certificates = str(ca_bundle) if ca_bundle is not None else None
    credentials = Credentials(api_key=api_key, username=username, password=password)
    return ArchiveChoice(
        name=archive,
        profiles=profiles,
        access=Access(proxy=proxy, ca_bundle=certificates, credentials=credentials),
        cache=Path(cache) if cache is not None else cache_folder(),
        idc_index=str(idc_index) if idc_index is not None else None,
        route=Route(route),
        gen3_credentials=Path(gen3_credentials) if gen3_credentials is not None else None,
        agrees=agrees,
    )


def choose_archive(archive: str | ArchiveChoice | None, default: str = DEFAULT_ARCHIVE) -> ArchiveChoice:
    """What a verb was given, or the archive named `default`. Raises ConfigurationError: that is not an archive."""
    if archive is None and default == CLIENTS:
        raise ConfigurationError(
            "what the mirror holds was stored by clients, so there is no archive to ask; name one with --archive"
        )
    return archive if isinstance(archive, ArchiveChoice) else reach(archive or default)


def cache_folder() -> Path:
    """The folder of catalogues and of the demonstration archive."""
    return platformdirs.user_cache_path("bulkdl")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveTerms:
    """What can be said of an archive without a request: its address, empty in this process, and what it accepts.

    `is_named`: a profile has its address. `knows_md5s`: see `Capabilities`.
    """

    url: str
    takes_key: bool = False
    takes_login: bool = False
    takes_gen3_key: bool = False
    is_named: bool = True
    knows_md5s: bool = True


def archive_terms(
    name: str, profiles: Mapping[str, str], *, forms: Mapping[str, Callable[..., Any]] = MappingProxyType({})
) -> ArchiveTerms:
    """The terms of the archive of that name or address. Raises ConfigurationError: there is no such archive."""
    if name in DEMOS:
        return ArchiveTerms(url="")
    profile = find_profile(name, profiles, forms=forms)
    able = capabilities(profile)
    return ArchiveTerms(
        url=profile.url,
        takes_key=able.takes_key,
        takes_login=able.takes_login,
        takes_gen3_key=profile.kind == DRS,
        is_named="://" not in name or commons_of(profile.netloc, "", profiles) is not None,
        knows_md5s=able.knows_md5s,
    )


def is_guest(username: str) -> bool:
    """Whether this is NBIA's shared guest account, which has no password."""
    return username == GUEST


def read_text(path: Paths, name: str = "") -> str:
    """The text of a file of secrets. Raises ConfigurationError, which calls it `name` and does not quote it."""
    try:
        return decoded(read_file(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigurationError(f"{name or path} cannot be read: {reason}") from None
