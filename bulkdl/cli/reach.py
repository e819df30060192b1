"""How the chosen archive is reached: the caller's options and the environment's proxies → `ArchiveChoice`."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import platformdirs

from bulkdl.archive.client import Access
from bulkdl.archive.profiles import DEMO, find_profile
from bulkdl.cli.options import ArchiveOptions
from bulkdl.errors import ConfigurationError
from bulkdl.operations.common import ArchiveChoice
from bulkdl.operations.status import status

_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def choose_archive(options: ArchiveOptions) -> ArchiveChoice:
    """The archive that the options name.

    Raises:
        ConfigurationError: no such profile, or a proxy that cannot be used.
    """
    url = None if options.name == DEMO else find_profile(options.name, options.profiles).url
    return _choice(options, url)


def choose_archive_of(mirror: Path, options: ArchiveOptions) -> ArchiveChoice:
    """The archive that the options name outright, or else the one that `mirror` came from: only its proxy matters here.

    Raises:
        ConfigurationError: no such profile, or a proxy that cannot be used.
        JournalError: `mirror` is none.
    """
    return choose_archive(options) if options.is_chosen else _choice(options, status(mirror).archive)


def cache_folder() -> Path:
    """Where catalogues and the demonstration archive are kept."""
    return platformdirs.user_cache_path("bulkdl")


def _choice(options: ArchiveOptions, url: str | None) -> ArchiveChoice:
    """`url` is None for the demonstration archive, which lives in this process and is reached without a proxy."""
    proxy = None
    if url is not None:
        proxy = _checked(options.proxy) if options.proxy else _proxy_of_environment(url)
    access = Access(proxy=proxy, ca_bundle=options.ca_bundle)
    return ArchiveChoice(name=options.name, profiles=options.profiles, access=access, cache=cache_folder())


def _proxy_of_environment(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY mean for `url`; none for this machine itself."""
    parts = urlsplit(url)
    if not parts.hostname or parts.hostname in _THIS_MACHINE:
        return None
    proxies = urllib.request.getproxies_environment()
    if urllib.request.proxy_bypass_environment(parts.netloc, proxies):  # type: ignore[attr-defined, unused-ignore]
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return _checked(proxy) if proxy else None


def _checked(proxy: str) -> str:
    """The address of a proxy as a URL; it may hold a password, so no message shows it."""
    address = proxy if "://" in proxy else f"http://{proxy}"
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("the proxy is no http:// or https:// address; correct --proxy or HTTPS_PROXY")
    return address
