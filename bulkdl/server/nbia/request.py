"""A parsed request, and a reply that is not a list of rows. Nothing here depends on aiohttp.

The functions that answer requests block, and are called in threads.
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
from bulkdl.server.catalogue import CatalogueView
from bulkdl.server.nbia.apis import Api
from bulkdl.server.nbia.shared_lists import SharedList, SharedLists

Row = Mapping[str, Value]
"""The values of one row, by the `field` of the endpoint's attributes."""

_UID_CHARACTERS: Final = frozenset("0123456789.")


class RequestRefused(Exception):
    """The answer is an error status; the message is its body."""

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer."""

    body: bytes
    content_type: str = "text/plain"
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request to an endpoint. `parameters` have their names on the wire and keep their order.

    Methods take the `field` of a parameter. `origin` is the server's address as the client knows it, without a path.
    """

    api: Api
    endpoint: Endpoint
    viewer: Viewer
    view: CatalogueView
    parameters: Mapping[str, Sequence[str]]
    authenticator: Authenticator
    lists: SharedLists
    origin: str

    def value(self, name: str) -> str | None:
        """The first value of the parameter with the field `name`."""
        values = self.values(name)
        return values[0] if values else None

    def values(self, name: str) -> Sequence[str]:
        """All values of the parameter with the field `name`."""
        for parameter in self.endpoint.parameters:
            if parameter.field == name:
                return self.parameters.get(parameter.name, ())
        return ()

    def shared_list(self) -> SharedList | None:
        """The list with the requested name: the viewer's own, or the oldest of which the viewer may see a Series.

        A list of which the viewer may see nothing does not exist for the viewer.
        """
        lists = self.lists.named(self.value("shared_list") or "")
        own = (one for one in lists if one.owner == self.viewer.name)
        others = (one for one in lists if next(self.view.details_of(one.series_uids), None) is not None)
        return next(own, None) or next(others, None)

    def criteria(self, *names: str) -> dict[str, Any]:
        """The criteria in the request by field, or only those of these names."""
        return {
            parameter.field: self.parameters[parameter.name][0]
            for parameter in self.endpoint.parameters
            if parameter.name in self.parameters
            and parameter.kind is not Kind.DATE
            and (not names or parameter.field in names)
        }

    def day(self, name: str) -> date | None:
        """The date in a parameter; None if it is missing, or does not have the endpoint's date format."""
        for parameter in self.endpoint.parameters:
            if parameter.field == name and parameter.date_form is not None:
                try:
                    return datetime.strptime(self.parameters[parameter.name][0], parameter.date_form).date()  # noqa: DTZ007 - dates have no zone
                except (KeyError, ValueError):
                    return None
        return None

    def uids(self, name: str) -> list[str]:
        """The UIDs of a parameter that is repeated or has commas. Other characters are dropped, as by NBIA."""
        texts = ",".join(self.values(name)).split(",")
        cleaned = ("".join(filter(_UID_CHARACTERS.__contains__, text)) for text in texts)
        return list(dict.fromkeys(filter(None, cleaned)))
