"""`describe`: the parameters and the results of an endpoint, from its archive or from the endpoint tables.

TCIA v3 has a document for each endpoint, at `…/ENDPOINT/metadata`, whose keys are not documented. NBIA has none. The
documents made from the tables have the keys of the embedded archive's v3 documents, and a few more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.errors import AccessDenied, ArchiveError, ArchiveRefused, UnexpectedAnswer
from bulkdl.model.access import DEFAULT_ARCHIVE, ArchiveChoice
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.connections.connected_archive import open_for_questions
from bulkdl.verbs.connections.endpoints import dialect_of, find
from bulkdl.verbs.connections.reach import choose_archive

_ONE_ATTEMPT: Final = FetchSettings(max_attempts=1, give_up_after_seconds=0)  # the tables serve as well


@dataclass(frozen=True, slots=True)
class Description:
    """The parameters and the results of an endpoint. `source` is `archive` or `tables`.

    `unavailable` says why the archive's own document could not be used, where there should be one.
    """

    document: Mapping[str, Any]
    source: str
    unavailable: str | None = None


async def describe_async(endpoint: str, *, archive: str | ArchiveChoice = DEFAULT_ARCHIVE) -> Description:
    """Describe one endpoint, whose name may be written in any case.

    Raises ConfigurationError: there is no such archive or endpoint; ArchiveRefused, AccessDenied: it requires a key.
    """
    choice = choose_archive(archive)
    found = find(endpoint, choice)
    own = Description(document_of(found), "tables")
    if dialect_of(choice).metadata(found) is None:
        return own
    try:
        async with open_for_questions(choice, settings=_ONE_ATTEMPT) as client:
            answer = await client.metadata(found)
            return own if answer is None else Description(_parse(answer[1]), "archive")
    except (ArchiveRefused, AccessDenied):
        raise
    except ArchiveError as error:
        return replace(own, unavailable=str(error))


describe = blocking(describe_async)


def document_of(endpoint: Endpoint) -> dict[str, Any]:
    """The description of an endpoint in the tables, as JSON values."""
    return {
        "name": endpoint.name,
        "description": endpoint.description,
        "method": endpoint.method,
        "queryParameters": [
            {
                "name": entry.name,
                "required": entry.required,
                "repeatable": entry.is_repeatable or entry.is_numbered,
                "type": entry.kind.name.lower(),
                "description": entry.description,
            }
            for entry in endpoint.parameters
        ],
        "returnTypes": list(endpoint.formats) or [endpoint.answer.name],
        "attributes": [
            {
                "name": entry.name,
                "field": entry.field,
                "type": entry.kind.name.lower(),
                "dicomTag": f"{entry.tag[:4]} {entry.tag[4:]}" if entry.tag else "NA",
                "description": entry.description,
            }
            for entry in endpoint.attributes
        ],
    }


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise UnexpectedAnswer("its metadata is not JSON") from error
    if not isinstance(document, dict):
        raise UnexpectedAnswer("its metadata is not a JSON object")
    return document
