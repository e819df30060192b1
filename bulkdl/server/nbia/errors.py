"""Error responses as NBIA and, for TCIA v3, Bindaas give them: English sentences, often with a wrong content type."""

from http import HTTPStatus
from typing import Final

from aiohttp import web

from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, Answer, Endpoint
from bulkdl.server.access import CredentialProblem
from bulkdl.server.nbia.apis import Api, Credential
from bulkdl.server.nbia.quirks import Quirk
from bulkdl.server.nbia.renderings import to_json
from bulkdl.server.nbia.request import RequestRefused
from bulkdl.server.responses import NotedResponse, Unavailable, status_page

_JSON_TYPE: Final = "application/json"
_FAILED: Final = b"Server was not able to process your request\nnull"
_PARAMETER_MISSING: Final = 471  # Bindaas has status codes that HTTP does not define
_MAX_NAME_CHARACTERS: Final = 80
_WITHOUT_SECOND_COMMA: Final = frozenset(
    (
        *("getSeriesSize", "getSOPInstanceUIDs", "getSeriesMetaData", "getContentsByName"),
        *("NewPatientsInCollection", "NewStudiesInPatientCollection"),
    )
)


def server_error(note: str, api: Api | None = None, *, tcia_message: str = "") -> NotedResponse:
    """The 500 that NBIA sends for every failure, and TCIA with a message. `note` is for the access log."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    if api is None or not api.is_tcia:
        return NotedResponse(note, status=status, body=_FAILED, content_type="text/plain")
    return NotedResponse(note, status=status, body=to_json({"errorMessage": tcia_message}), content_type=_JSON_TYPE)


def unauthorized(problem: CredentialProblem, api: Api, endpoint: Endpoint, quirks: frozenset[Quirk]) -> web.Response:
    """The response to a request without valid credentials."""
    refused = web.Response(status=HTTPStatus.UNAUTHORIZED)
    if api.credential is Credential.KEY:
        return refused
    refused.headers["WWW-Authenticate"] = "Bearer"
    if Quirk.EMPTY_TOKEN not in quirks or api.name == "nbia-advanced" or endpoint.name in NBIA_ADVANCED:
        return refused
    if endpoint.answer is not Answer.ROWS or endpoint.name == "getCollectionValues":
        return server_error("no token") if problem is CredentialProblem.MISSING else refused
    if api.credential is Credential.OPTIONAL_TOKEN and endpoint.name == "getSeries":
        return server_error("broken SQL")
    return web.Response(body=b"")


def missing_parameter(api: Api, endpoint: Endpoint, name: str) -> web.Response:
    """The response to a request without the required parameter `name`."""
    if api.is_tcia:
        document = {
            "errorDescription": "A mandatory query parameter was not given",
            "suggestedAction": "See the API documentation",
            "detailedMessage": name,
        }
        return web.Response(status=_PARAMETER_MISSING, body=to_json(document), content_type=_JSON_TYPE)
    comma = "" if endpoint.name in _WITHOUT_SECOND_COMMA else ","
    verb = "is" if len(endpoint.required) == 1 else "are"
    sentence = f"A parameter, {' and '.join(endpoint.required)}{comma} {verb} required for this API call."
    return web.Response(status=HTTPStatus.BAD_REQUEST, body=sentence.encode(), content_type=_JSON_TYPE)


def refusal(refused: RequestRefused | Unavailable, api: Api | None = None) -> web.Response:
    """The response to a request that was refused, or for which the archive of a cache does not send the files."""
    if isinstance(refused, RequestRefused):
        body = str(refused).encode(errors="replace")
        return web.Response(status=refused.status, body=body, content_type="text/plain")
    made = server_error(str(refused), api, tcia_message=str(refused))
    made.set_status(refused.status)
    return made


async def unknown_tcia_endpoint(request: web.Request) -> web.Response:
    """Answer a request below TCIA's path that no route takes."""
    page = await status_page(request)
    if page.status != HTTPStatus.NOT_FOUND:
        return page
    name = request.path.removesuffix("/metadata").rpartition("/")[2][:_MAX_NAME_CHARACTERS]
    body = to_json({"errorMessage": f"QueryEndpoint [{name}] not found"})
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return NotedResponse("no such endpoint", status=status, body=body, content_type=_JSON_TYPE)
