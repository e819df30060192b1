"""How the chosen archive is reached: the caller's options, proxies and passwords → `ArchiveChoice`."""

from __future__ import annotations

import os
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
import platformdirs

from bulkdl.archive.auth import GUEST
from bulkdl.archive.profiles import DEMO, Profile, find_profile
from bulkdl.cli.options import ArchiveOptions
from bulkdl.errors import ConfigurationError
from bulkdl.model.access import Access, ArchiveChoice, Credentials
from bulkdl.verbs.status import archive_of

_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def choose_archive(options: ArchiveOptions) -> ArchiveChoice:
    """The archive that the options name.

    Raises:
        ConfigurationError: no such profile, a proxy that cannot be used, or a key or login that is of no use there.
    """
    profile = None if options.name == DEMO else find_profile(options.name, options.profiles)
    return _choice(options, profile.url if profile else None, _credentials(options, options.name, profile))


def choose_archive_of(mirror: Path, options: ArchiveOptions) -> ArchiveChoice:
    """The archive that the options name outright, or else the one that `mirror` came from: how it is reached.

    Raises:
        ConfigurationError: as `choose_archive`.
        JournalError: `mirror` is none.
    """
    if options.is_chosen:
        return choose_archive(options)
    name, url = archive_of(mirror)
    profile = None
    if name != DEMO:
        with suppress(ConfigurationError):  # a profile that is gone from the configuration; told when it is needed
            profile = find_profile(name, options.profiles)
    return _choice(options, url, _credentials(options, name, profile))


def cache_folder() -> Path:
    """Where catalogues and the demonstration archive are kept."""
    return platformdirs.user_cache_path("bulkdl")


def _credentials(options: ArchiveOptions, name: str, profile: Profile | None) -> Credentials:
    """What the archive is to be told of the caller; `profile` is None for one that takes neither key nor login."""
    dialect = profile.dialect() if profile is not None else None
    takes_key = dialect is not None and dialect.takes_key
    takes_login = dialect is not None and dialect.takes_login
    for option, what, is_taken in (
        ("api_key", "API key", takes_key),
        ("username", "login", takes_login),
        ("password_file", "login", takes_login),
    ):
        if option in options.given and not is_taken:
            flag = option.replace("_", "-")
            raise ConfigurationError(f"the archive {name} takes no {what}; leave out --{flag}")
    key = options.api_key if takes_key else None
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key and key):
        raise ConfigurationError("the API key is no word of plain letters; correct --api-key or BULKDL_API_KEY")
    if not takes_login:
        return Credentials(api_key=key)
    if "password_file" in options.given and options.username is None:
        raise ConfigurationError("whose password is it? --password-file needs --username")
    if options.username is None:
        return Credentials()
    return Credentials(username=options.username, password=_password(options.username, options.password_file))


def _password(username: str, file: Path | None) -> str:
    if username == GUEST:
        return ""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise ConfigurationError(f"the password file {str(file)!r} cannot be read: {reason}") from error
    if (password := os.environ.get("BULKDL_PASSWORD")) is not None:
        return password
    if not sys.stdin.isatty():
        raise ConfigurationError(f"no password for {username}: set BULKDL_PASSWORD, or name a --password-file")
    prompted: str = click.prompt(f"Password of {username}", hide_input=True, err=True)
    return prompted


def _choice(options: ArchiveOptions, url: str | None, credentials: Credentials) -> ArchiveChoice:
    """`url` is None for the demonstration archive, which lives in this process and is reached without a proxy."""
    proxy = None
    if url is not None:
        proxy = _checked(options.proxy) if options.proxy else _proxy_of_environment(url)
    access = Access(proxy=proxy, ca_bundle=options.ca_bundle, credentials=credentials)
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
