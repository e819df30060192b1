"""`describe`: what an endpoint takes and returns, as its archive says it, or else as our tables do.

TCIA v3 has a document for each endpoint, at `…/ENDPOINT/metadata`, whose keys are not public. NBIA has nothing of the
kind. Our own documents have the keys that the embedded archive gives its v3 documents, and a few more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bulkdl.archive.nbia.endpoints import Answer, Endpoint
from bulkdl.errors import AccessDenied, ArchiveError, ArchiveRefused, UnexpectedAnswer
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.query import asking, dialect_of, find

_ONE_TRY: Final = FetchSettings(max_attempts=1, give_up_after_seconds=0)  # the tables are at hand


@dataclass(frozen=True, slots=True)
class Description:
    """What an endpoint takes and returns. `source` is the archive's own word, or our tables.

    `untold` says why the archive could not be asked, where it should have been.
    """

    document: Mapping[str, Any]
    source: str
    untold: str | None = None


async def describe(endpoint: str, *, archive: ArchiveChoice) -> Description:
    """Describe one endpoint, whose name may be written in any case.

    Raises:
        ConfigurationError: no such archive or endpoint.
        ArchiveRefused, AccessDenied: the archive wants a key before it says anything.
    """
    found = find(endpoint, archive)
    own = Description(document_of(found), "tables")
    if dialect_of(archive).metadata(found) is None:
        return own
    try:
        async with asking(archive, settings=_ONE_TRY) as client:
            _, body = await client.query(replace(found, path=f"{found.path}/metadata", answer=Answer.TEXT), ())
            return Description(_parse(body), "archive")
    except (ArchiveRefused, AccessDenied):
        raise
    except ArchiveError as error:
        return replace(own, untold=str(error))


def document_of(endpoint: Endpoint) -> dict[str, Any]:
    """What the tables say of an endpoint, as JSON values."""
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
        raise UnexpectedAnswer("its metadata is no JSON") from error
    if not isinstance(document, dict):
        raise UnexpectedAnswer("its metadata is no JSON object")
    return document
