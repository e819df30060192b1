"""Search answers in the requested format: JSON, CSV, XML or HTML, with the quirks that are switched on.

Source: `getData.java` and the `v4/*.java` of the NBIA API.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, Answer, Endpoint
from bulkdl.server.nbia.apis import Api
from bulkdl.server.nbia.quirks import Quirk
from bulkdl.server.nbia.renderings import RENDERINGS, TCIA_RENDERINGS, Rendering, WireRow, encode, to_json
from bulkdl.server.nbia.request import ApiRequest
from bulkdl.server.nbia.rows import find_rows

_JSON_QUIRKS: Final = frozenset({Quirk.SINGLE_OBJECT, Quirk.ESCAPED_SLASHES})
_NULLS_LEFT_OUT: Final = frozenset({"getCollectionOrSeriesForDOI"})
_OBJECT_ENDPOINTS: Final = frozenset(
    endpoint.name
    for endpoint in NBIA_ADVANCED.values()
    if endpoint.answer is Answer.ROWS and endpoint.default_format == "JSON" and endpoint.name not in _NULLS_LEFT_OUT
)
# As Jackson writes it: nulls are kept, and no rows are an empty array.
_JSON_WITH_NULLS: Final = replace(RENDERINGS["JSON"], begin=lambda _attributes: ("[", encode), is_never_empty=True)


def find_format(api: Api, endpoint: Endpoint, name: str) -> Rendering | None:
    """The format that a request asks for by `name`; None if it is unknown."""
    name = name.upper()
    if not api.is_tcia:
        is_single = len(endpoint.attributes) == 1
        if endpoint.name in _OBJECT_ENDPOINTS:
            return _JSON_WITH_NULLS
        if name == "CSV-DOWNLOAD":
            content_type = "application/force-download" if is_single else "text/csv"
            headers = {"Content-Disposition": 'attachment; filename="SeriesMetaData.csv"'}
            return replace(RENDERINGS["CSV"], content_type=content_type, headers=headers)
        if name == "CSVQUOTED" and not is_single:
            name = "CSV"
    return (TCIA_RENDERINGS if api.is_tcia else RENDERINGS).get(name)


def write_rows(request: ApiRequest, rendering: Rendering, quirks: frozenset[Quirk]) -> Iterator[bytes]:
    """The rows that answer the request, in chunks. Nothing is read before the first chunk is requested.

    With a quirk that changes JSON, the whole answer is held in memory.
    """
    is_json = rendering.content_type == "application/json"
    rows = _wire_rows(request, as_text=is_json and Quirk.SIZES_AS_STRINGS in quirks)
    chunks = rendering.write(request.endpoint.attributes, rows)
    if not is_json or not quirks & _JSON_QUIRKS:
        yield from chunks
        return
    body = b"".join(chunks)
    if Quirk.SINGLE_OBJECT in quirks and body:
        document = json.loads(body)
        if isinstance(document, list) and len(document) == 1:
            body = to_json(document[0])
    if Quirk.ESCAPED_SLASHES in quirks:
        body = body.replace(b"/", rb"\/")
    if body:
        yield body


def _wire_rows(request: ApiRequest, *, as_text: bool) -> Iterator[WireRow]:
    to_wire = request.api.writer(request.endpoint)
    attributes = request.endpoint.attributes
    for row in find_rows(request):
        wired = {attribute.name: to_wire(attribute, row.get(attribute.field)) for attribute in attributes}
        if as_text:
            wired = {name: str(value) if type(value) in {int, float} else value for name, value in wired.items()}
        yield wired
