"""What Bindaas, the platform under TCIA v3, adds to every endpoint: headers, and a description at `…/metadata`."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

from bulkdl.archive.nbia.endpoints import Answer, Endpoint
from bulkdl.server.nbia.request import FORMAT

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ROW_FORMATS: Final = ("CSV", "HTML", "XML", "JSON")


def with_headers(handle: Handler) -> Handler:
    """Add Bindaas' headers to each response whose headers are not sent yet."""

    async def timed(request: web.Request) -> web.StreamResponse:
        start = time.perf_counter()
        response = await handle(request)
        if not response.prepared:
            response.headers["Bindaas-version"] = "bulkdl"
            response.headers["Vendor"] = "bulkdl"
            response.headers["responseTime"] = str(round((time.perf_counter() - start) * 1000))
        return response

    return timed


def describe_endpoint(endpoint: Endpoint) -> bytes:
    """The JSON of `…/metadata`. Its key names are our own, as the real ones are not documented."""
    parameters = [{"name": parameter.name, "required": parameter.required} for parameter in endpoint.parameters]
    if endpoint.has_format:
        parameters.append({"name": FORMAT, "required": False})
    formats = {Answer.BUNDLE: ["ZIP"], Answer.INSTANCE: ["DICOM"]}
    description = {
        "name": endpoint.name,
        "description": endpoint.description,
        "queryParameters": parameters,
        "returnTypes": formats.get(endpoint.answer, [name for name in _ROW_FORMATS if name in endpoint.formats]),
        "attributes": [
            {
                "name": attribute.name,
                "dicomTag": f"{attribute.tag[:4]} {attribute.tag[4:]}" if attribute.tag else "NA",
                "description": attribute.description,
            }
            for attribute in endpoint.attributes
        ],
    }
    return json.dumps(description, indent=1).encode()
