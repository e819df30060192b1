"""Pages of HTML from templates, which escape every value; and the headers of all that a browser shows.

jinja2 is imported with the first page: the command and clients of the APIs do not wait for it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from multidict import MultiMapping

from bulkdl.model.ids import is_uid
from bulkdl.model.quantities import human_bytes
from bulkdl.server.access import Viewer
from bulkdl.server.catalogue import CatalogueView
from bulkdl.server.supply import Supply

if TYPE_CHECKING:
    import jinja2

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Vary": "Cookie, Authorization",
}
"""The headers of every page, picture and asset."""


class PageMissing(Exception):
    """There is no such page, or the viewer may not see it. The message says what is missing."""

    status = HTTPStatus.NOT_FOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What a page is made of.

    `origin` is the server's address as the browser knows it; `cart` has numbers of Series; `match` is from the path.
    """

    view: CatalogueView
    viewer: Viewer
    path: str
    query: MultiMapping[str]
    origin: str
    cart: tuple[int, ...] = ()
    supply: Supply | None = None
    has_users: bool = False
    has_mirrors: bool = False
    is_guest: bool = True
    match: Mapping[str, str]

    def value(self, name: str) -> str:
        """The first value of a parameter; empty without one."""
        return self.query.get(name, "")

    def number(self, name: str, default: int = 0) -> int:
        """A parameter that is a number from 0 to 10^15; anything else is the default."""
        text = self.value(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else default  # noqa: PLR2004

    def uid(self, name: str) -> str:
        """A parameter that is a UID.

        Raises:
            PageMissing: it is missing or invalid.
        """
        if not is_uid(text := self.value(name)):
            raise PageMissing(f"The address has no valid UID in the parameter {name}.")
        return text

    def again(self, **changes: object) -> str:
        """The address of this page with other values of some parameters."""
        pairs = [(name, value) for name, value in self.query.items() if name not in changes]
        return address(self.path, [*pairs, *((name, value) for name, value in changes.items() if value is not None)])


def address(path: str, pairs: list[tuple[str, Any]] | None = None, /, **values: object) -> str:
    """An address on this server with parameters. Characters that cannot be encoded are replaced."""
    wanted = [*(pairs or ()), *((name, value) for name, value in values.items() if value is not None)]
    query = urlencode([(name, str(value)) for name, value in wanted], errors="replace")
    return f"{quote(path, errors='replace')}{'?' if query else ''}{query}"


def link(text: str | None) -> str | None:
    """An address from outside that a page may lead to: http and https alone."""
    try:
        parts = urlsplit((text or "").strip())
    except ValueError:
        return None
    return text.strip() if text and parts.scheme in {"http", "https"} and parts.netloc else None


def render(template: str, request: PageRequest, values: Mapping[str, Any]) -> bytes:
    """The page that a template makes. Text that is not valid Unicode is replaced."""
    page = _environment().get_template(f"{template}.html").render(request=request, **values)
    return page.encode(errors="replace")


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - slow to import; only pages need it

    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.PackageLoader(__package__),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        size=_size,
        known_size=_known_size,
        number=_number,
        link=link,
        shell=shlex.quote,
        python=repr,
        keyword=lambda text: text.strip("-"),
    )
    environment.globals.update(address=address)
    return environment


def _size(value: int | None) -> str:
    return "" if value is None else human_bytes(value)


def _known_size(value: int, images: int) -> str:
    """The size of so many images. An archive of a cache may not say it, as of DICOMweb."""
    return human_bytes(value) if value or not images else "unknown"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
