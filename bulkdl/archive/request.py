"""One request to an archive, before it has an address and credentials. Protocols make it; `http` sends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

Pairs: TypeAlias = tuple[tuple[str, str], ...]


class Identity(Enum):
    """Which credentials are sent with a request."""

    NONE = auto()
    KEY = auto()  # the API key, if there is one
    TOKEN_IF_ANY = auto()  # the token of a login, if there is one; guests send none
    TOKEN = auto()  # the token of a login; the guest's if there is no other


@dataclass(frozen=True, slots=True)
class Request:
    """`name` stands in messages. `path` is relative to the archive's base address. A `form` is posted."""

    name: str
    path: str
    query: Pairs = ()
    form: Pairs | None = None
    identity: Identity = Identity.NONE
