"""Parameters of a request, from its address and its form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from aiohttp.http_exceptions import HttpProcessingError

from bulkdl.server.nbia.request import RequestRefused

if TYPE_CHECKING:
    from aiohttp import web

    from bulkdl.archive.nbia.endpoints import Endpoint

FORMAT: Final = "format"

_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 100_000


async def read_form(request: web.Request) -> dict[str, list[str]]:
    """The fields of a form and the parameters of its address, the form's first. Uploaded files are left out.

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
    except (ValueError, LookupError, RuntimeError, HttpProcessingError) as error:  # what aiohttp raises for bad forms
        raise RequestRefused("The form cannot be read.") from error
    return {**read_query(request), **_by_name((_encodable(name), _encodable(value)) for name, value in pairs)}


def read_query(request: web.Request) -> dict[str, list[str]]:
    """The parameters of the address."""
    return _by_name(request.query.items())


def check_names(endpoint: Endpoint, parameters: Mapping[str, Sequence[str]]) -> None:
    """Check that an endpoint knows every parameter.

    Raises:
        RequestRefused: it does not; in NBIA's words.
    """
    for name in parameters:
        if endpoint.parameter(name) is None and not (endpoint.has_format and name == FORMAT):
            allowed = [parameter.name for parameter in endpoint.parameters] + [FORMAT] * endpoint.has_format
            kind = "form" if endpoint.method == "POST" else "query"
            raise RequestRefused(f"Invalid {kind} parameter: '{name}'. Allowed parameters are: [{', '.join(allowed)}]")


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()
