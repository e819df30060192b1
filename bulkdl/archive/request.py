"""One request to an archive, before it has an address and credentials. Protocols make it; `http` sends it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, TypeAlias

from yarl import URL

from bulkdl.errors import BulkdlError, ConfigurationError
from bulkdl.model.access import basic_credentials

Pairs: TypeAlias = tuple[tuple[str, str], ...]

LINE_BREAK: Final = re.compile("[\r\n\0]")
"""What no header of a request may hold."""


class Identity(Enum):
    """Which credentials are sent with a request."""

    NONE = auto()
    KEY = auto()  # the API key, if there is one
    TOKEN_IF_ANY = auto()  # the token of a login, if there is one; guests send none
    TOKEN = auto()  # the token of a login; the guest's if there is no other
    AUTHORIZATION = auto()  # the name and the password, or the API key, in the header of RFC 9110; guests send none


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """Where a service differs from others.

    `read_error` makes the error of a response from its status, its headers and the beginning of its body; None if these
    do not tell it. `follows` decides on a redirect from one address to another; what is followed counts as the archive
    itself. `condition` is the header that binds the request for the rest of an object to its validator.
    """

    read_error: Callable[[int, Mapping[str, str], bytes], BulkdlError | None]
    follows: Callable[[str, str], bool]
    condition: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A body to post: `length` bytes of the media type `content_type`, which are made while they are sent.

    Each attempt calls `chunks` anew. What that raises ends the request, and the connection: then the archive does not
    take what it has for the whole.
    """

    content_type: str
    length: int
    chunks: Callable[[], AsyncGenerator[bytes | memoryview, None]]


Content: TypeAlias = Pairs | Upload
"""What a request posts: a form, or an upload."""


@dataclass(frozen=True, slots=True)
class Request:
    """`name` stands in messages. `path` is relative to the archive's base address. A `form` or an `upload` is posted.

    An `address` is requested as it is written, instead of the path and the query; it may be a secret. `accept` is the
    media type to ask for. Answers with a status of `read_statuses` are read like successes. `may_be_incomplete`: a 206
    without a range is an answer to the whole request, which lacks some of what there is.
    """

    name: str
    path: str
    query: Pairs = ()
    form: Pairs | None = None
    identity: Identity = Identity.NONE
    rules: ServiceRules | None = None
    address: str | None = field(default=None, repr=False)
    upload: Upload | None = None
    read_statuses: frozenset[int] = frozenset()
    accept: str | None = None
    may_be_incomplete: bool = False

    @property
    def content(self) -> Content | None:
        """What is posted; None for a GET."""
        return self.upload or self.form


def basic_authorization(url: URL) -> str | None:
    """The header that sends the name and the password in an address (RFC 7617, in UTF-8); None if it has no name."""
    if url.user is None:
        return None
    return f"Basic {basic_credentials(url.user, url.password)}"


def header_with_break() -> ConfigurationError:
    """The error of a request with a `LINE_BREAK` in its header."""
    return ConfigurationError("a header of the request would hold a line break: look at the API key")
