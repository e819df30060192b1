"""One request to DICOMweb and what can go wrong with it: who asks, what they see, addresses, errors in JSON.

An address of this server is made of the `Host` that the client sent, whose name was checked before. Some clients send
it without the port (dicomweb-client): that of the connection is added, if the name is that of this machine itself. A
proxy in front of it sends its name.
"""

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

from aiohttp import BasicAuth, web

from bulkdl.errors import BulkdlError
from bulkdl.model.text import one_line
from bulkdl.server.access import CredentialProblem, Viewer
from bulkdl.server.catalogue import CatalogueView, ServedFile
from bulkdl.server.context import ServerContext
from bulkdl.server.dicomweb.media_types import JSON, Offer, read_accept
from bulkdl.server.passwords import digest_of
from bulkdl.server.responses import NotedResponse, Unavailable

ROOT: Final = "/dicom-web"
"""The path of the service."""

Answering: TypeAlias = Callable[["DicomWebRequest"], Awaitable[web.StreamResponse]]

_CHALLENGE: Final = 'Basic realm="bulkdl", charset="UTF-8"'
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST_LOGINS: Final = 1_000
_USUAL_PORTS: Final = {"http": 80, "https": 443}


class DicomWebRefusal(Exception):
    """A request that is not answered; the message says why, in a sentence without a full stop."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def not_found(what: str) -> DicomWebRefusal:
    """That something does not exist, or is hidden from the viewer."""
    return DicomWebRefusal(HTTPStatus.NOT_FOUND, f"there is no such {what}")


def not_acceptable(message: str) -> DicomWebRefusal:
    """That nothing that the client accepts can be sent."""
    return DicomWebRefusal(HTTPStatus.NOT_ACCEPTABLE, message)


@dataclass(frozen=True, slots=True)
class DicomWebRequest:
    """A request of a viewer. `view` is what that viewer sees of the catalogue."""

    http: web.Request
    context: ServerContext
    view: CatalogueView
    viewer: Viewer

    @property
    def url(self) -> str:
        """The address of the service, as this client reaches it."""
        return f"{self.http.scheme}://{_authority(self.http)}{ROOT}"

    @property
    def accepted(self) -> list[Offer]:
        """What the client accepts. The parameter `accept` takes the place of the header (PS3.18 §8.3.3.1)."""
        header = ", ".join(self.http.headers.getall("Accept", ()))
        return read_accept(self.http.query.get("accept") or header)

    def address_of(self, file: ServedFile) -> str:
        """The address of an instance of the Study in the path."""
        return f"{self.url}/studies/{self.uid('study')}/series/{file.series_uid}/instances/{file.sop_uid}"

    def uid(self, name: str) -> str:
        """A UID in the path, or what else it has by this name; empty if it has none."""
        return self.http.match_info.get(name, "")


class Guard:
    """Who may ask: guests, users by Basic, and the bearers of tokens."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._logins: OrderedDict[bytes, str] = OrderedDict()

    def handler(self, answer: Answering) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler that answers, or says in JSON what is wrong."""

        async def handle(http: web.Request) -> web.StreamResponse:
            try:
                viewer = await self._viewer(http.headers.get("Authorization"))
                view = self._context.view_of(viewer)
                return await answer(DicomWebRequest(http, self._context, view, viewer))
            except (DicomWebRefusal, Unavailable) as refused:
                return error_response(refused.status, str(refused))
            except ConnectionError:
                raise  # the client has left
            except (BulkdlError, OSError) as error:
                message = "the server cannot read what it serves; its access log says why"
                return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, message, note=str(error))

        return handle

    async def _viewer(self, authorization: str | None) -> Viewer:
        """The sender of a request; the guest without credentials."""
        authenticator = self._context.authenticator
        if authorization is None:
            return authenticator.guest
        if authorization.strip()[:6].lower() == "basic ":
            return await self._logged_in(authorization.strip())
        viewer = authenticator.viewer(authorization)
        if isinstance(viewer, CredentialProblem):
            raise DicomWebRefusal(HTTPStatus.UNAUTHORIZED, "the token is invalid or has expired")
        return viewer

    async def _logged_in(self, authorization: str) -> Viewer:
        """The user of a name and a password, which are hashed once and not at every request."""
        authenticator, key = self._context.authenticator, digest_of(authorization)
        known = authenticator.viewer(f"Bearer {self._logins.get(key, '')}")
        if isinstance(known, Viewer):
            self._logins.move_to_end(key)
            return known
        try:
            given = BasicAuth.decode(authorization, encoding="utf-8")
        except ValueError:
            raise DicomWebRefusal(HTTPStatus.UNAUTHORIZED, "the credentials cannot be read") from None
        login = await self._context.logins.do(authenticator.log_in, given.login, given.password)
        viewer = authenticator.viewer(f"Bearer {login.access_token}") if login is not None else None
        if login is None or not isinstance(viewer, Viewer):
            raise DicomWebRefusal(HTTPStatus.UNAUTHORIZED, "the user name or the password is wrong")
        self._logins[key] = login.access_token
        if len(self._logins) > _MOST_LOGINS:
            self._logins.popitem(last=False)
        return viewer


def error_response(status: HTTPStatus, message: str, *, note: str | None = None) -> web.Response:
    """The answer to a request that failed. `note` is for the access log alone."""
    headers = {"WWW-Authenticate": _CHALLENGE} if status is HTTPStatus.UNAUTHORIZED else {}
    document = {"error": status.phrase.lower().replace(" ", "-"), "message": one_line(message)}
    body = json.dumps(document).encode()
    return NotedResponse(note or message, status=status, body=body, content_type=JSON, headers=headers)


def warning_headers(warnings: Iterable[str]) -> Mapping[str, str]:
    """The headers with warnings (RFC 7234 §5.5, in the form of PS3.18 §8.3.4.1)."""
    found = ", ".join(f'299 bulkdl: "{text}"' for text in warnings)
    return {"Warning": found} if found else {}


def _authority(http: web.Request) -> str:
    """The host and the port of this server, as the client names them."""
    host = http.host
    if host.endswith("]") or ":" not in host:
        port = _port_of(http, host.strip("[]").lower().removesuffix("."))
        return host if port is None else f"{host}:{port}"
    return host


def _port_of(http: web.Request, name: str) -> int | None:
    """The port of the connection, if the name is that of this machine itself and the port is not the usual one."""
    if http.transport is None:
        return None
    address, port = http.transport.get_extra_info("sockname")[:2]
    is_direct = name in _LOCAL_NAMES or name == address
    return port if is_direct and port != _USUAL_PORTS.get(http.scheme) else None
