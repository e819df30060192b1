"""When a server may take instances from clients: one mirror, and only those who may write it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bulkdl.errors import ConfigurationError
from bulkdl.runtime.disk import BOOKKEEPING, JOURNAL
from bulkdl.server.access import AccessRules
from bulkdl.server.cross_origin import ANY_ORIGIN


def check_store_options(
    roots: Sequence[Path], host: str, rules: AccessRules, *, origins: Sequence[str] = (), is_of_archive: bool = False
) -> None:
    """Check what `--accept-store` needs. `origins` are the sites whose pages may use the server. Blocking.

    Raises:
        ConfigurationError: there is not exactly one path; it is neither a mirror nor empty; or anyone could store.
    """
    if is_of_archive or len(roots) != 1:
        raise ConfigurationError("--accept-store takes exactly one PATH, a mirror or an empty folder, and no --archive")
    (root,) = roots
    if not (root / JOURNAL).is_file() and root.exists():
        if not root.is_dir():
            raise ConfigurationError(f"{root} is not a folder, so no instances can be stored there")
        if any(entry.name != BOOKKEEPING for entry in root.iterdir()):
            way = f"bulkdl adopt {root}"
            raise ConfigurationError(f"{root} is neither a mirror nor empty; to make a mirror of its files: {way}")
    if rules.keys and not rules.users:
        raise ConfigurationError("--accept-store with --api-key-file needs --users-file too: only users may store")
    if not rules.users and ANY_ORIGIN in origins:
        raise ConfigurationError("--accept-store with --allow-origin * needs --users-file: any web page could store")
    if not rules.users and not _is_loopback(host):
        raise ConfigurationError(
            f"--accept-store at {host} needs --users-file: without users, anyone who reaches this server could store"
        )


def _is_loopback(host: str) -> bool:
    if host.casefold() == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
