"""What a service needs to ask: one method that sends a GET request. The caller gives it, and so it knows no sockets.

Services answer in JSON. An error page, a maintenance page or a document of another shape is never taken for an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from bulkdl.errors import UnexpectedAnswer
from bulkdl.model.text import one_line, shortened

Query: TypeAlias = tuple[tuple[str, str], ...]
Result = TypeVar("Result")

_SHOWN_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """A successful response. `headers` have names in any case."""

    headers: Mapping[str, str]
    body: bytes


class ServiceClient(Protocol):
    """Sends requests to one service. `path` is relative to its base address; `what` names the question in messages."""

    async def get(self, what: str, path: str, query: Query, read: Callable[[ServiceAnswer], Result]) -> Result:
        """Send a GET request until `read` accepts the answer, or it is given up. Returns what `read` makes of it.

        `read` raises UnexpectedAnswer for what is not the answer: services send pages with status 200, too.

        Raises:
            RequestFailed: it failed (its subclasses give the cause).
            ArchiveUnreachable, Interrupted: the service does not answer, or the run was stopped.
        """


def read_document(answer: ServiceAnswer, what: str) -> Any:
    """The JSON document of an answer.

    Raises:
        UnexpectedAnswer: it is something else, such as a page.
    """
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        start = answer.body[: 4 * _SHOWN_CHARACTERS].decode("utf-8", errors="replace")
        said = "a page" if "<" in start else f"{shortened(one_line(start), _SHOWN_CHARACTERS)!r}"
        raise UnexpectedAnswer(f"{what}: {said} came instead of a JSON document") from error


def unexpected(what: str, document: Any) -> UnexpectedAnswer:
    """The error for a JSON document that has another shape. It quotes what the document says of an error."""
    said = document.get("message") if isinstance(document, dict) else None
    shown = f": {shortened(one_line(said), _SHOWN_CHARACTERS)}" if isinstance(said, str) and said else ""
    return UnexpectedAnswer(f"{what}: the answer is not a list of records{shown}")
