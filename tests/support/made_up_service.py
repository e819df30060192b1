"""A service that answers from memory, for tests of what is asked and how answers are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bulkdl.services.base import Query, ServiceAnswer

Result = TypeVar("Result")
Answering = Callable[[str, Mapping[str, str]], Any]


class MadeUpService:
    """Answers `get` with what `answer` returns for a path and a query: a JSON value, bytes, or a pair with headers."""

    def __init__(self, answer: Answering) -> None:
        self._answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def get(self, what: str, path: str, query: Query, read: Callable[[ServiceAnswer], Result]) -> Result:
        assert what
        self.asked.append((path, dict(query)))
        made = self._answer(path, dict(query))
        value, headers = made if isinstance(made, tuple) else (made, {})
        return read(ServiceAnswer(headers, value if isinstance(value, bytes) else json.dumps(value).encode()))
