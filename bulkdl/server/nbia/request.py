"""A request in our own words, and a reply that is not a list of rows; what stands between HTTP and the catalogue.

Nothing here knows of aiohttp. Functions that make replies block, and are called in threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, Final

from bulkdl.archive.nbia.endpoints import Endpoint, Kind
from bulkdl.archive.nbia.values import Value
from bulkdl.server.authentication import Authenticator, Viewer
from bulkdl.server.catalogue.view import CatalogueView
from bulkdl.server.nbia.apis import Api
from bulkdl.server.nbia.shared_lists import SharedList, SharedLists

Row = Mapping[str, Value]
"""The values of one row by the fields of the endpoint's attributes."""

_UID_CHARACTERS: Final = frozenset("0123456789.")


class RequestRefused(Exception):
    """An answer of an error's status; the message is its body."""

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    body: bytes
    content_type: str = "text/plain"
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """What somebody wants to know. `given` are the parameters by their names on the wire, in the order they came.

    `origin` is the address that the client called us by, without a path.
    """

    api: Api
    endpoint: Endpoint
    viewer: Viewer
    view: CatalogueView
    given: Mapping[str, Sequence[str]]
    authenticator: Authenticator
    lists: SharedLists
    origin: str

    def one(self, name: str) -> str | None:
        """The value of the parameter that carries the field `name`, the first where there are several."""
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> Sequence[str]:
        """All values of the parameter that carries the field `name`."""
        for parameter in self.endpoint.parameters:
            if parameter.field == name:
                return self.given.get(parameter.name, ())
        return ()

    def shared_list(self) -> SharedList | None:
        """The list of the name asked for: one's own, or else the oldest of which one may see a Series.

        A list of what somebody may not see is none to them, down to its name.
        """
        lists = self.lists.named(self.one("shared_list") or "")
        mine = (one for one in lists if one.owner == self.viewer.name)
        others = (one for one in lists if next(self.view.details_of(one.series_uids), None) is not None)
        return next(mine, None) or next(others, None)

    def criteria(self, *names: str) -> dict[str, Any]:
        """The criteria given; those of these names alone, where some are named."""
        return {
            parameter.field: self.given[parameter.name][0]
            for parameter in self.endpoint.parameters
            if parameter.name in self.given
            and parameter.kind is not Kind.DATE
            and (not names or parameter.field in names)
        }

    def day(self, name: str) -> date | None:
        """The day in a parameter; None where there is none, or not in the form that the endpoint wants."""
        for parameter in self.endpoint.parameters:
            if parameter.field == name and parameter.date_form is not None:
                try:
                    return datetime.strptime(self.given[parameter.name][0], parameter.date_form).date()  # noqa: DTZ007 - days have no zone
                except (KeyError, ValueError):
                    return None
        return None

    def uids(self, name: str) -> list[str]:
        """UIDs in a list that is repeated, or has commas between them; other characters are passed over, as by NBIA."""
        texts = ",".join(self.all(name)).split(",")
        cleaned = ("".join(filter(_UID_CHARACTERS.__contains__, text)) for text in texts)
        return list(dict.fromkeys(filter(None, cleaned)))
