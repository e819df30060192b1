"""Who may see what: API keys, users, restricted Collections, and the tokens that logins are given.

What an endpoint does with somebody it does not know is the endpoint's affair; reading headers is `app`'s.

A users file is TOML:

    token_seconds = 7200            # how long a token is good for; refresh_seconds likewise

    [restricted]
    collections = ["SECRET-LUNG"]   # seen only by users who are given them below

    [users.alice]
    password = "scrypt$16384$8$1$…" # made by `hash_password`, or the password itself
    collections = ["SECRET-LUNG"]

The guest, `nbia_guest`, needs no entry and no password, and sees what is not restricted: so it is on the real archive.

Tokens are random and known to this process alone, so a restart ends all sessions. Only their digests are kept, in a
bounded number: where a million guests log in, the oldest have to do so again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
import tomllib
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from bulkdl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GUEST: Final = "nbia_guest"

_SCHEME: Final = "scrypt"
_COST: Final = (1 << 14, 8, 1)
_MOST_MEMORY_BYTES: Final = 1 << 28
_SALT_BYTES: Final = 16
_TOKEN_BYTES: Final = 32
_MOST_TOKENS: Final = 100_000
_NOBODYS_PASSWORD: Final = secrets.token_hex(_TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can log in, and the restricted Collections, in upper case, that are theirs to see."""

    name: str
    password: str = field(repr=False)
    collections: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
    """Who is who. No `keys` means that TCIA v3 asks for none; `restricted` Collections are in upper case."""

    keys: frozenset[str] = field(default=frozenset(), repr=False)
    users: Mapping[str, User] = field(default_factory=dict)
    restricted: frozenset[str] = frozenset()
    token_seconds: float = 7200
    refresh_seconds: float = 10800


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. `hidden` are the Collections, in upper case, that do not exist for them."""

    name: str
    hidden: frozenset[str] = frozenset()


class CredentialProblem(Enum):
    """Why a request has no viewer."""

    MISSING = auto()
    INVALID = auto()


@dataclass(frozen=True, slots=True)
class Login:
    """What a login is given; times in seconds from now."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    session: str
    expires_in: int
    refresh_expires_in: int


# --- files ------------------------------------------------------------------------------------------------------------


def read_keys(text: str, *, source: str) -> frozenset[str]:
    """The API keys of a file: one a line; blank lines and lines that begin with `#` are passed over.

    Raises:
        ConfigurationError: there is none.
    """
    lines = (line.strip() for line in text.splitlines())
    keys = frozenset(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise ConfigurationError(f"{source} holds no API key: one is expected on each line")
    return keys


def read_users(text: str, *, source: str, keys: frozenset[str] = frozenset()) -> AccessRules:
    """The rules of a users file. `source` is its name in messages, which never show a value of it.

    Raises:
        ConfigurationError: it is no TOML, a name in it is unknown, or a value is not what it should be.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = f"line {error.lineno}" if hasattr(error, "lineno") else "somewhere"
        raise ConfigurationError(f"{source} is no TOML: see {where}") from None  # the message may quote a password
    try:
        return _rules(document, keys)
    except ValueError as error:
        raise ConfigurationError(f"{source}: {error}") from error


def hash_password(password: str) -> str:
    """A password in the form in which it can stand in a users file without being told."""
    salt = secrets.token_bytes(_SALT_BYTES)
    costs = "$".join(map(str, _COST))
    return f"{_SCHEME}${costs}${salt.hex()}${_scrypt(password, salt, _COST).hex()}"


def _rules(document: Mapping[str, Any], keys: frozenset[str]) -> AccessRules:
    _only(document, {"token_seconds", "refresh_seconds", "restricted", "users"}, "the file")
    restricted = _table(document, "restricted")
    _only(restricted, {"collections"}, "[restricted]")
    hidden = _collections(restricted, "[restricted]")
    users = {}
    for name, entry in _table(document, "users").items():
        users[name] = _user(name, entry)
        if unrestricted := users[name].collections - hidden:
            raise ValueError(f"[users.{name}]: not a restricted Collection: {', '.join(sorted(unrestricted))}")
    return AccessRules(
        keys=keys,
        users=users,
        restricted=hidden,
        token_seconds=_seconds(document, "token_seconds", AccessRules().token_seconds),
        refresh_seconds=_seconds(document, "refresh_seconds", AccessRules().refresh_seconds),
    )


def _user(name: str, entry: object) -> User:
    where = f"[users.{name}]"
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no table")  # noqa: TRY004 - a wrong file, told like every other fault of it
    _only(entry, {"password", "collections"}, where)
    password = entry.get("password")
    if not isinstance(password, str) or not password:
        raise ValueError(f"{where} has no password")
    if password.startswith(f"{_SCHEME}$"):
        _parts(password, where)
    return User(name, password, _collections(entry, where))


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(table) - known):
        raise ValueError(f"{where} has {unknown[0]!r}, which means nothing; known are {', '.join(sorted(known))}")


def _table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no table")  # noqa: TRY004 - the same
    return found


def _collections(table: Mapping[str, Any], where: str) -> frozenset[str]:
    found = table.get("collections", [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{where}: collections is no list of names")
    return frozenset(name.upper() for name in found)


def _seconds(document: Mapping[str, Any], name: str, default: float) -> float:
    found = document.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
        raise ValueError(f"{name} is no number of seconds")
    return float(found)


# --- passwords --------------------------------------------------------------------------------------------------------


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    given = password.encode(errors="replace")
    return hashlib.scrypt(given, salt=salt, n=n, r=r, p=p, maxmem=_MOST_MEMORY_BYTES)


def _parts(stored: str, where: str) -> tuple[tuple[int, int, int], bytes, bytes]:
    try:
        _, n, r, p, salt, digest = stored.split("$")
        cost = int(n), int(r), int(p)
        parts = cost, bytes.fromhex(salt), bytes.fromhex(digest)
        _scrypt("", parts[1], cost)
    except ValueError:
        raise ValueError(f"{where}: the password begins like a hash of scrypt and is none") from None
    return parts


def _is_password(given: str, stored: str) -> bool:
    if stored.startswith(f"{_SCHEME}$"):
        cost, salt, digest = _parts(stored, "a user")
        return hmac.compare_digest(_scrypt(given, salt, cost), digest)
    return hmac.compare_digest(_digest(given), _digest(stored))


# --- tokens -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Grant:
    user: str
    session: str
    expires: float


class Authenticator:
    """Knows keys and tokens. May be asked from any thread; `clock` gives seconds that never go back."""

    def __init__(self, rules: AccessRules | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules or AccessRules()
        self._clock = clock
        self._lock = threading.Lock()
        self._any_password = next((user.password for user in self._rules.users.values()), _NOBODYS_PASSWORD)
        self._keys = frozenset(_digest(key) for key in self._rules.keys)
        self._access: dict[bytes, _Grant] = {}
        self._refresh: dict[bytes, _Grant] = {}
        self.guest = Viewer(GUEST, self._rules.restricted)

    @property
    def needs_key(self) -> bool:
        """Whether TCIA v3 asks for a key."""
        return bool(self._keys)

    @property
    def has_users(self) -> bool:
        """Whether anybody but the guest can log in."""
        return bool(self._rules.users)

    def is_key(self, key: str | None) -> bool:
        """Whether `key` is a known one, or none is needed."""
        return not self._keys or (key is not None and _digest(key) in self._keys)

    def viewer(self, authorization: str | None) -> Viewer | CredentialProblem:
        """Who an `Authorization` header belongs to. `Bearer undefined`, which web pages send, is the guest."""
        if authorization is None:
            return CredentialProblem.MISSING
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer":
            return CredentialProblem.INVALID
        if token == "undefined":  # noqa: S105 - a word that pages of NBIA send for want of a token
            return self.guest
        grant = self._find(self._access, token.strip())
        return CredentialProblem.INVALID if grant is None else self._viewer_named(grant.user)

    def viewer_of_user(self, name: str) -> Viewer:
        """What the user of that name may see; somebody unknown sees what the guest sees."""
        return self._viewer_named(name)

    def log_in(self, username: str, password: str) -> Login | None:
        """Tokens for a user; None where name or password are wrong. Blocks for as long as a hash takes."""
        if username == GUEST and username not in self._rules.users:
            return self._issue(GUEST)
        user = self._rules.users.get(username)
        # A name that nobody has takes as long as one that somebody has, so that time does not tell names.
        stored = user.password if user is not None else self._any_password
        return self._issue(username) if _is_password(password, stored) and user is not None else None

    def refresh(self, refresh_token: str) -> Login | None:
        """New tokens for old; None where the refresh token is unknown or has expired."""
        grant = self._find(self._refresh, refresh_token)
        return None if grant is None else self._issue(grant.user, grant.session)

    def log_out(self, authorization: str | None) -> bool:
        """End the session that a token belongs to, with every token of it; whether there was one."""
        _, _, token = (authorization or "").strip().partition(" ")
        grant = self._find(self._access, token.strip())
        if grant is None:
            return False
        with self._lock:
            for tokens in (self._access, self._refresh):
                for digest in [key for key, other in tokens.items() if other.session == grant.session]:
                    del tokens[digest]
        return True

    def _viewer_named(self, name: str) -> Viewer:
        user = self._rules.users.get(name)
        return self.guest if user is None else Viewer(name, self._rules.restricted - user.collections)

    def _issue(self, user: str, session: str | None = None) -> Login:
        rules, now = self._rules, self._clock()
        session = session or secrets.token_hex(_SALT_BYTES)
        access, refresh = secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_urlsafe(_TOKEN_BYTES)
        with self._lock:
            _keep(self._access, access, _Grant(user, session, now + rules.token_seconds), now)
            _keep(self._refresh, refresh, _Grant(user, session, now + rules.refresh_seconds), now)
        return Login(access, refresh, session, int(rules.token_seconds), int(rules.refresh_seconds))

    def _find(self, tokens: Mapping[bytes, _Grant], token: str) -> _Grant | None:
        with self._lock:
            grant = tokens.get(_digest(token))
        return grant if grant is not None and grant.expires > self._clock() else None


def _keep(tokens: dict[bytes, _Grant], token: str, grant: _Grant, now: float) -> None:
    """Tokens of one kind expire in the order in which they were given, so the first are the first to go."""
    while tokens:
        oldest = next(iter(tokens))
        if tokens[oldest].expires > now and len(tokens) < _MOST_TOKENS:
            break
        del tokens[oldest]
    tokens[_digest(token)] = grant


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
