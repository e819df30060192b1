"""A parsed request, and a reply that is not a list of rows. The functions that answer block, in threads."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict, MultiMapping

from bulkdl.archive.nbia.endpoints import Endpoint, Kind
from bulkdl.archive.nbia.values import Value
from bulkdl.server.access import Authenticator, Viewer
from bulkdl.server.catalogue import CatalogueView, ServedFile
from bulkdl.server.nbia.apis import Api
from bulkdl.server.nbia.shared_lists import SharedList, SharedLists
from bulkdl.server.responses import UNREADABLE_FORM

FORMAT: Final = "format"

Parameters: TypeAlias = MultiMapping[str]
"""Parameters by their names on the wire, in their order."""

Row: TypeAlias = Mapping[str, Value]
"""The values of one row, by the `field` of the endpoint's attributes."""

_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 100_000
_UID_CHARACTERS: Final = frozenset("0123456789.")


class RequestRefused(Exception):
    """The answer is an error status; the message is its body. Every function that answers a request may raise it."""

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer: its body, or the `pieces` of it, which are made while they are sent."""

    body: bytes = b""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Iterator[bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request to an endpoint. Methods take the `field` of a parameter.

    `origin` is the server's address as the client knows it, without a path. `inspected` is what the inspector has read
    of the requested file; None if there is no such file. `sop_uids` are those of the requested Series as the
    archive of a cache lists them; None where its files have them.
    """

    api: Api
    endpoint: Endpoint
    viewer: Viewer
    view: CatalogueView
    parameters: Parameters
    authenticator: Authenticator
    lists: SharedLists
    origin: str
    inspected: Any = None
    sop_uids: Sequence[str] | None = None

    def value(self, name: str) -> str | None:
        """The first value of a parameter."""
        return next(iter(self.values(name)), None)

    def values(self, name: str) -> Sequence[str]:
        """All values of a parameter."""
        wire_name = next((parameter.name for parameter in self.endpoint.parameters if parameter.field == name), "")
        return self.parameters.getall(wire_name, ())

    def instance(self) -> ServedFile | None:
        """The requested instance: by its number, by its UID within its Series, or the first of its Series."""
        if (number := self.value("image_id")) is not None:
            return self.view.file_numbered(number)
        sop_uid = self.value("sop_uid")
        files = self.view.files(self.value("series_uid") or "")
        return next((file for file in files if sop_uid in {None, file.sop_uid}), None)

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
            parameter.field: self.parameters[parameter.name]
            for parameter in self.endpoint.parameters
            if parameter.name in self.parameters
            and parameter.kind is not Kind.DATE
            and (not names or parameter.field in names)
        }

    def day(self, name: str) -> date | None:
        """The date in a parameter; None if it is missing, or does not have the endpoint's date format."""
        form = next((one.date_form for one in self.endpoint.parameters if one.field == name), None)
        with suppress(ValueError):
            return datetime.strptime(self.value(name) or "", form or "").date() if form else None  # noqa: DTZ007 - dates have no zone
        return None

    def uids(self, name: str) -> list[str]:
        """The UIDs of a parameter that is repeated or has commas. Other characters are dropped, as by NBIA."""
        texts = ",".join(self.values(name)).split(",")
        cleaned = ("".join(filter(_UID_CHARACTERS.__contains__, text)) for text in texts)
        return list(dict.fromkeys(filter(None, cleaned)))


async def read_form(request: web.Request) -> Parameters:
    """The fields of a form, and the parameters of its address that it does not repeat. Uploaded files are left out.

    Characters that cannot be encoded are replaced by question marks.

    Raises:
        RequestRefused: the form cannot be read.
    """
    try:
        if request.content_type == _FORM_TYPE:  # aiohttp itself rejects more than a thousand fields
            text = (await request.read()).decode(errors="replace")
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        else:
            pairs = [(name, value) for name, value in (await request.post()).items() if isinstance(value, str)]
    except UNREADABLE_FORM as error:
        raise RequestRefused("The form cannot be read.") from error
    fields = MultiDict((_encodable(name), _encodable(value)) for name, value in pairs)
    fields.extend([(name, value) for name, value in request.query.items() if name not in fields])
    return fields


def check_names(endpoint: Endpoint, parameters: Parameters) -> None:
    """Check that an endpoint knows every parameter.

    Raises:
        RequestRefused: it does not; in NBIA's words.
    """
    for name in parameters:
        if endpoint.parameter(name) is None and not (endpoint.has_format and name == FORMAT):
            allowed = [parameter.name for parameter in endpoint.parameters] + [FORMAT] * endpoint.has_format
            kind = "form" if endpoint.method == "POST" else "query"
            raise RequestRefused(f"Invalid {kind} parameter: '{name}'. Allowed parameters are: [{', '.join(allowed)}]")


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()
