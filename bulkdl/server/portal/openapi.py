"""The APIs of NBIA and TCIA as OpenAPI, from the tables of their endpoints, and as a page with forms to try them.

Source: OpenAPI Specification 3.1.0.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from bulkdl import __version__
from bulkdl.archive.nbia.endpoints import Answer, Endpoint, Kind
from bulkdl.archive.nbia.endpoints.base import Parameter
from bulkdl.docs import read_page
from bulkdl.server.nbia.apis import APIS, Api, Credential
from bulkdl.server.nbia.quirks import DESCRIPTIONS
from bulkdl.server.portal.pages import PageRequest

_TYPES: Final = {
    Kind.INTEGER: {"type": "integer"},
    Kind.NUMBER: {"type": "number"},
    Kind.FLAG: {"type": "boolean"},
    Kind.DATE: {"type": "string"},
    Kind.NESTED: {},
}
_TEXT: Final = {"type": "string"}
_CONTENT: Final = {
    Answer.OBJECT: "application/json",
    Answer.INSTANCE: "application/dicom",
    Answer.BUNDLE: "application/zip",
    Answer.TEXT: "text/plain",
    Answer.MANIFEST: "application/x-nbia-manifest-file",
    Answer.FILE: "application/octet-stream",
    Answer.PICTURE: "image/jpeg",
}
_ROWS: Final = {"JSON": "application/json", "CSV": "text/csv", "XML": "text/xml", "HTML": "text/html"}
_SECURITY: Final[Mapping[Credential, list[dict[str, list[str]]]]] = {
    Credential.TOKEN: [{"token": []}],
    Credential.OPTIONAL_TOKEN: [{}, {"token": []}],
    Credential.KEY: [{"key": []}],
    Credential.NONE: [],
}


def openapi(origin: str) -> bytes:
    """The document. `origin` is the address of the server."""
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "bulkdl: the APIs of NBIA and TCIA",
            "version": __version__,
            "description": "Series, patients and images of the collections that this server has.",
        },
        "servers": [{"url": origin}],
        "tags": [{"name": api.title, "description": api.credential.value} for api in APIS],
        "paths": {
            api.base + endpoint.path: {endpoint.method.lower(): _operation(api, endpoint)}
            for api in APIS
            for endpoint in api.endpoints.values()
        },
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "api_key"},
            }
        },
    }
    return json.dumps(document, indent=1).encode()


def _operation(api: Api, endpoint: Endpoint) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{api.name}-{endpoint.name}",
        "tags": [api.title],
        "summary": endpoint.description,
        "responses": {
            "200": {"description": "The answer.", "content": _content(endpoint)},
            "default": {"description": "A sentence in English that says what is wrong."},
        },
        "security": _SECURITY[api.credential],
    }
    if endpoint.method == "POST":
        described["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": _form(endpoint)}}}
    else:
        described["parameters"] = [
            {
                "name": one.name,
                "in": "query",
                "description": one.description,
                "required": one.required,
                "schema": _schema(one),
            }
            for one in endpoint.parameters
        ]
        if endpoint.has_format:
            formats = {"type": "string", "enum": list(endpoint.formats), "default": endpoint.default_format}
            described["parameters"].append({"name": "format", "in": "query", "schema": formats})
    return described


def _schema(parameter: Parameter) -> dict[str, Any]:
    schema = _TYPES.get(parameter.kind, _TEXT)
    return {"type": "array", "items": schema} if parameter.is_repeatable else dict(schema)


def _form(endpoint: Endpoint) -> dict[str, Any]:
    named = {f"{one.name}{'0' if one.is_numbered else ''}": _schema(one) for one in endpoint.parameters}
    return {"type": "object", "properties": named, "required": list(endpoint.required)}


def _content(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.answer is not Answer.ROWS:
        return {_CONTENT[endpoint.answer]: {}}
    row = {one.name: {**_TYPES.get(one.kind, _TEXT), "description": one.description} for one in endpoint.attributes}
    rows = {"schema": {"type": "array", "items": {"type": "object", "properties": row}}}
    return {_ROWS[name]: rows if name == "JSON" else {} for name in endpoint.formats if name in _ROWS}


def api_docs(request: PageRequest) -> dict[str, Any]:
    """The page of all endpoints, of the quirks, and of the differences from the real archives."""
    del request
    section = read_page("serve").text.partition("\n## Differences from the real archives\n")[2].partition("\n## ")[0]
    return {
        "apis": APIS,
        "quirks": [(quirk.value, text) for quirk, text in DESCRIPTIONS.items()],
        "differences": [" ".join(text.replace("`", "").split()) for text in section.split("\n- ")[1:]],
    }
