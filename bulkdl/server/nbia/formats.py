"""Search answers in the requested format: JSON, CSV, XML or HTML, with the quirks that are switched on.

Source: `getData.java` and the `v4/*.java` of the NBIA API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, Answer, Endpoint
from bulkdl.server.nbia.apis import Api
from bulkdl.server.nbia.quirks import Quirk
from bulkdl.server.nbia.renderings import RENDERINGS, JsonValue, Rendering, in_chunks, json_texts
from bulkdl.server.nbia.request import ApiRequest
from bulkdl.server.nbia.rows import find_rows

_JSON_QUIRKS: Final = frozenset({Quirk.SINGLE_OBJECT, Quirk.ESCAPED_SLASHES})
_NULLS_LEFT_OUT: Final = frozenset({"getCollectionOrSeriesForDOI"})
_OBJECT_ENDPOINTS: Final = frozenset(
    endpoint.name
    for endpoint in NBIA_ADVANCED.values()
    if endpoint.answer is Answer.ROWS and endpoint.default_format == "JSON" and endpoint.name not in _NULLS_LEFT_OUT
)


@dataclass(frozen=True, slots=True)
class Format:
    """A rendering, and the headers that go with it."""

    rendering: Rendering
    headers: Mapping[str, str] = field(default_factory=dict)

    def write(self, request: ApiRequest, quirks: frozenset[Quirk]) -> Iterator[bytes]:
        """The rows that answer the request, in chunks. Nothing is read before the first chunk is requested.

        Raises:
            RequestRefused: the request has no answer in rows.
        """
        is_json = self.rendering.content_type == "application/json"
        rows = _wire_rows(request, as_text=is_json and Quirk.SIZES_AS_STRINGS in quirks)
        chunks = self.rendering.write(request.endpoint.attributes, rows)
        return _with_quirks(chunks, quirks) if is_json and quirks & _JSON_QUIRKS else chunks


def find_format(api: Api, endpoint: Endpoint, name: str) -> Format | None:
    """The format that a request asks for by `name`; None if it is unknown."""
    name = name.upper()
    if not api.is_tcia:
        is_single = len(endpoint.attributes) == 1
        if endpoint.name in _OBJECT_ENDPOINTS:
            return Format(_JSON_WITH_NULLS)
        if name == "CSV-DOWNLOAD":
            content_type = "application/force-download" if is_single else "text/csv"
            headers = {"Content-Disposition": 'attachment; filename="SeriesMetaData.csv"'}
            return Format(Rendering(content_type, RENDERINGS["CSV"].write), headers)
        if name == "CSVQUOTED" and not is_single:
            name = "CSV"
    rendering = api.renderings.get(name)
    return None if rendering is None else Format(rendering)


DEFAULT_FORMAT: Final = Format(RENDERINGS["JSON"])


_JSON_WITH_NULLS: Final = Rendering(
    "application/json", lambda _attributes, rows: in_chunks("[", json_texts(rows, nulls=True), "]")
)
"""JSON as Jackson writes it: nulls are kept, and no rows are an empty array."""


def _wire_rows(request: ApiRequest, *, as_text: bool) -> Iterator[Mapping[str, JsonValue]]:
    """The rows as they are sent. Nothing is read before the first row is requested."""
    to_wire = request.api.writer(request.endpoint)
    attributes = request.endpoint.attributes
    for row in find_rows(request):
        wired = {attribute.name: to_wire(attribute, row.get(attribute.field)) for attribute in attributes}
        if as_text:
            wired = {name: str(value) if type(value) in {int, float} else value for name, value in wired.items()}
        yield wired


def _with_quirks(chunks: Iterator[bytes], quirks: frozenset[Quirk]) -> Iterator[bytes]:
    """JSON with the quirks that change it. The whole answer is held in memory."""
    body = b"".join(chunks)
    if Quirk.SINGLE_OBJECT in quirks and body:
        rows = json.loads(body)
        if isinstance(rows, list) and len(rows) == 1:
            body = json.dumps(rows[0], ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    if Quirk.ESCAPED_SLASHES in quirks:
        body = body.replace(b"/", rb"\/")
    if body:
        yield body
