"""Access: API keys, users and restricted Collections, the files that define them, and who sends a request.

Each API decides how to answer an unknown sender.

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

import re
import secrets
import threading
import time
import tomllib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from bulkdl.errors import ConfigurationError
from bulkdl.server.passwords import check_stored, digest_of, is_password

GUEST: Final = "nbia_guest"
_PLACE: Final = re.compile(r"line \d+, column \d+|end of document")
_SESSION_BYTES: Final = 16
_TOKEN_BYTES: Final = 32
_MAX_TOKENS: Final = 20_000
_UNGUESSABLE_PASSWORD: Final = secrets.token_hex(_TOKEN_BYTES)


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
    restricted, listed = _read_table(document, "restricted"), _read_table(document, "users")
    _check_known(restricted, {"collections"}, "[restricted]")
    hidden = _read_collections(restricted, "[restricted]")
    users = {name: _read_user(name, _read_table(listed, name, f"[users.{name}]")) for name in listed}
    for user in users.values():
        if unrestricted := user.collections - hidden:
            raise ValueError(f"[users.{user.name}]: not a restricted Collection: {', '.join(sorted(unrestricted))}")
    seconds = {name: _read_seconds(document, name) for name in ("token_seconds", "refresh_seconds") if name in document}
    return AccessRules(keys=keys, users=users, restricted=hidden, **seconds)


def _read_user(name: str, entry: Mapping[str, Any]) -> User:
    where = f"[users.{name}]"
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


def _read_table(document: Mapping[str, Any], name: str, shown: str | None = None) -> dict[str, Any]:
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{shown or name} is not a table")  # noqa: TRY004 - reported like every other mistake here
    return found


def _read_collections(table: Mapping[str, Any], where: str) -> frozenset[str]:
    found = table.get("collections", [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{where}: collections is not a list of names")
    return frozenset(name.upper() for name in found)


def _read_seconds(document: Mapping[str, Any], name: str) -> float:
    found = document[name]
    if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
        raise ValueError(f"{name} is not a positive number of seconds")
    return float(found)


@dataclass(frozen=True, slots=True)
class Viewer:
    """The sender of a request. `hidden` are the Collections, in upper case, that do not exist for this viewer."""

    name: str
    hidden: frozenset[str] = frozenset()


class CredentialProblem(Enum):
    """Why a request has no viewer."""

    MISSING = auto()
    INVALID = auto()


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """The tokens of a login. Times are in seconds from now."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    session: str
    expires_in: int
    refresh_expires_in: int


@dataclass(frozen=True, slots=True)
class _Grant:
    user: str
    session: str
    expires: float


class Authenticator:
    """Checks keys and passwords, and issues tokens. Thread-safe; `clock` returns monotonic seconds.

    Tokens are random and known to this process alone, so a restart ends all sessions. Only their digests are kept, in a
    bounded number for each account: when it is reached, the oldest tokens of that account expire first. So no account
    can end the session of another, and the guest, who needs no password, can log in any number of times.
    """

    def __init__(
        self,
        rules: AccessRules | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_tokens: int = _MAX_TOKENS,
    ) -> None:
        self._rules = rules or AccessRules()
        self._clock = clock
        self._lock = threading.Lock()
        self._any_password = next((user.password for user in self._rules.users.values()), _UNGUESSABLE_PASSWORD)
        self._keys = frozenset(digest_of(key) for key in self._rules.keys)
        self._access = _Tokens(max_tokens)
        self._refresh = _Tokens(max_tokens)
        self.guest = Viewer(GUEST, self._rules.restricted)

    @property
    def has_users(self) -> bool:
        """Whether anyone but the guest can log in."""
        return bool(self._rules.users)

    def is_key(self, key: str | None) -> bool:
        """Whether `key` is valid. Without configured keys, every key is."""
        return not self._keys or (key is not None and digest_of(key) in self._keys)

    def viewer(self, authorization: str | None) -> Viewer | CredentialProblem:
        """Identify the viewer by an `Authorization` header. `Bearer undefined`, which web pages send, is the guest."""
        if authorization is None:
            return CredentialProblem.MISSING
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer":
            return CredentialProblem.INVALID
        if token == "undefined":  # noqa: S105 - sent by NBIA's web pages when they have no token
            return self.guest
        grant = self._access.find(token.strip(), self._clock())
        return CredentialProblem.INVALID if grant is None else self.viewer_of_user(grant.user)

    def viewer_of_user(self, name: str) -> Viewer:
        """The viewer that a user name stands for; the guest, if the name is unknown."""
        user = self._rules.users.get(name)
        return self.guest if user is None else Viewer(name, self._rules.restricted - user.collections)

    def log_in(self, username: str, password: str) -> IssuedTokens | None:
        """Issue tokens to a user; None if the name or the password is wrong. Blocks for as long as a hash takes."""
        if username == GUEST and username not in self._rules.users:
            return self._issue(GUEST)
        user = self._rules.users.get(username)
        # An unknown name takes as long as a known one, so that the time does not reveal which names exist.
        stored = user.password if user is not None else self._any_password
        return self._issue(username) if is_password(password, stored) and user is not None else None

    def refresh(self, refresh_token: str) -> IssuedTokens | None:
        """Issue new tokens for a refresh token; None if it is unknown or has expired."""
        grant = self._refresh.find(refresh_token, self._clock())
        return None if grant is None else self._issue(grant.user, grant.session)

    def log_out(self, authorization: str | None) -> bool:
        """End the session of an access token, with all its tokens. Returns whether the token was valid."""
        _, _, token = (authorization or "").strip().partition(" ")
        grant = self._access.find(token.strip(), self._clock())
        if grant is None:
            return False
        with self._lock:
            for tokens in (self._access, self._refresh):
                tokens.end(grant)
        return True

    def _issue(self, user: str, session: str | None = None) -> IssuedTokens:
        rules, now = self._rules, self._clock()
        session = session or secrets.token_hex(_SESSION_BYTES)
        access, refresh = secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_urlsafe(_TOKEN_BYTES)
        with self._lock:
            self._access.keep(access, _Grant(user, session, now + rules.token_seconds), now)
            self._refresh.keep(refresh, _Grant(user, session, now + rules.refresh_seconds), now)
        return IssuedTokens(access, refresh, session, int(rules.token_seconds), int(rules.refresh_seconds))


class _Tokens:
    """The tokens of one kind. Those of an account expire in the order in which they are kept. Callers lock changes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._grants: dict[bytes, _Grant] = {}
        self._of_user: dict[str, deque[bytes]] = {}

    def keep(self, token: str, grant: _Grant, now: float) -> None:
        """Add a token; remove those of its account that have expired, and the oldest while there are too many."""
        own = self._of_user.setdefault(grant.user, deque())
        while own:
            oldest = self._grants.get(own[0])
            if oldest is not None and oldest.expires > now and len(own) < self._most:
                break
            self._grants.pop(own.popleft(), None)
        digest = digest_of(token)
        self._grants[digest] = grant
        own.append(digest)

    def find(self, token: str, now: float) -> _Grant | None:
        """What a token grants; None if it is unknown or has expired."""
        grant = self._grants.get(digest_of(token))
        return grant if grant is not None and grant.expires > now else None

    def end(self, grant: _Grant) -> None:
        """Remove the tokens of a session."""
        for digest in self._of_user.get(grant.user, ()):
            if (other := self._grants.get(digest)) is not None and other.session == grant.session:
                del self._grants[digest]
