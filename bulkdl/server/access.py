"""Access rules: API keys, users and restricted Collections, and the files that define them.

`authentication` identifies the sender of a request by these rules; each API decides how to answer an unknown one.

A users file is TOML:

    token_seconds = 7200            # lifetime of an access token; refresh_seconds likewise

    [restricted]
    collections = ["SECRET-LUNG"]   # visible only to users whose entry lists them

    [users.alice]
    password = "scrypt$16384$8$1$…" # made by `hash_password`, or the plain password
    collections = ["SECRET-LUNG"]

The guest, `nbia_guest`, needs no entry and no password and sees everything that is not restricted, as on the real
archive.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bulkdl.errors import ConfigurationError
from bulkdl.server.passwords import check_stored

GUEST: Final = "nbia_guest"
_PLACE: Final = re.compile(r"line \d+, column \d+|end of document")


@dataclass(frozen=True, slots=True)
class User:
    """A user who can log in. `collections` are the restricted Collections, in upper case, that the user may see."""

    name: str
    password: str = field(repr=False)
    collections: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
    """Who may see what. Without `keys`, TCIA v3 asks for no key; `restricted` Collections are in upper case."""

    keys: frozenset[str] = field(default=frozenset(), repr=False)
    users: Mapping[str, User] = field(default_factory=dict)
    restricted: frozenset[str] = frozenset()
    token_seconds: float = 7200
    refresh_seconds: float = 10800


def read_keys(text: str, *, source: str) -> frozenset[str]:
    """Read API keys, one per line. Blank lines and lines that begin with `#` are skipped.

    Raises:
        ConfigurationError: there is no key.
    """
    lines = (line.strip() for line in text.splitlines())
    keys = frozenset(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise ConfigurationError(f"{source} contains no API key; write one on each line")
    return keys


def read_users(text: str, *, source: str, keys: frozenset[str] = frozenset()) -> AccessRules:
    """Read the rules of a users file. `source` is its name in messages, which never show a value of the file.

    Raises:
        ConfigurationError: the file is not TOML, a key in it is unknown, or a value is invalid.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = _PLACE.search(str(error))  # the rest of the message may quote a password
        raise ConfigurationError(f"{source} is not valid TOML{f': see {where[0]}' if where else ''}") from None
    try:
        return _read_rules(document, keys)
    except ValueError as error:
        raise ConfigurationError(f"{source}: {error}") from error


def _read_rules(document: Mapping[str, Any], keys: frozenset[str]) -> AccessRules:
    _check_known(document, {"token_seconds", "refresh_seconds", "restricted", "users"}, "the file")
    restricted = _read_table(document, "restricted")
    _check_known(restricted, {"collections"}, "[restricted]")
    hidden = _read_collections(restricted, "[restricted]")
    users = {name: _read_user(name, entry) for name, entry in _read_table(document, "users").items()}
    for user in users.values():
        if unrestricted := user.collections - hidden:
            raise ValueError(f"[users.{user.name}]: not a restricted Collection: {', '.join(sorted(unrestricted))}")
    return AccessRules(
        keys=keys,
        users=users,
        restricted=hidden,
        token_seconds=_read_seconds(document, "token_seconds", AccessRules().token_seconds),
        refresh_seconds=_read_seconds(document, "refresh_seconds", AccessRules().refresh_seconds),
    )


def _read_user(name: str, entry: object) -> User:
    where = f"[users.{name}]"
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not a table")  # noqa: TRY004 - reported like every other mistake in the file
    _check_known(entry, {"password", "collections"}, where)
    password = entry.get("password")
    if not isinstance(password, str) or not password:
        raise ValueError(f"{where} has no password")
    try:
        check_stored(password)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return User(name, password, _read_collections(entry, where))


def _check_known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(table) - known):
        raise ValueError(f"{where} contains the unknown key {unknown[0]!r}; valid keys: {', '.join(sorted(known))}")


def _read_table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name} is not a table")  # noqa: TRY004 - the same
    return found


def _read_collections(table: Mapping[str, Any], where: str) -> frozenset[str]:
    found = table.get("collections", [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{where}: collections is not a list of names")
    return frozenset(name.upper() for name in found)


def _read_seconds(document: Mapping[str, Any], name: str, default: float) -> float:
    found = document.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
        raise ValueError(f"{name} is not a positive number of seconds")
    return float(found)
