"""Write `endpoint_methods.pyi` of `bulkdl/verbs/connections/`: the methods of a connected archive, from the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import bulkdl
from bulkdl.archive.nbia.dialects import DIALECTS
from bulkdl.archive.nbia.endpoints import Answer, Endpoint, Kind
from bulkdl.verbs.connections.connected_archive import python_name

STUBS: Final = Path(bulkdl.__file__).parent / "verbs" / "connections" / "endpoint_methods.pyi"

_HEAD: Final = '''\
"""The methods of a connected archive: every endpoint of every API, with its criteria and what it returns.

Generated from the endpoint tables by `python -m tests.docs.generate`. An archive has those of the API that it speaks.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any, TypeAlias

from bulkdl.verbs.connections.connected_archive import EndpointCall
from bulkdl.verbs.tables.records import Record, Records

Criterion: TypeAlias = str | int | float | bool | date | Iterable[str] | None

class EndpointMethods:
'''
_ANSWERS: Final = {
    Answer.ROWS: "EndpointCall[Records, Record]",
    Answer.OBJECT: "EndpointCall[Any, Record]",
    Answer.TEXT: "EndpointCall[str, bytes]",
    Answer.MANIFEST: "EndpointCall[str, bytes]",
}
_TYPES: Final = {
    Kind.INTEGER: "int | str",
    Kind.NUMBER: "float | str",
    Kind.FLAG: "bool | str",
    Kind.YES_NO: "bool | str",
    Kind.DATE: "date | str",
}


def stubs() -> str:
    """The whole file. An endpoint that several APIs have takes the criteria of all of them."""
    methods: dict[str, list[Endpoint]] = {}
    for dialect in dict.fromkeys(DIALECTS.values()):
        for name, endpoint in dialect.endpoints.items():
            methods.setdefault(python_name(name), []).append(endpoint)
    return _HEAD + "\n".join(_method(name, methods[name]) for name in sorted(methods))


def _method(name: str, endpoints: list[Endpoint]) -> str:
    criteria: dict[str, str] = {}
    for one in endpoints:
        for each in one.parameters:
            kind = _TYPES.get(each.kind, "str")
            several = " | Iterable[str]" if each.is_repeatable or each.is_numbered else ""
            is_required = all(each.field in _required(endpoint) for endpoint in endpoints)
            typed = f"{kind}{several}" if is_required else f"{kind}{several} | None = None"
            criteria.setdefault(each.field, f"{each.field}: {typed}")
    taken = [f"        {text},\n" for text in criteria.values()]
    answers = {_ANSWERS.get(endpoint.answer, "EndpointCall[bytes, bytes]") for endpoint in endpoints}
    returned = answers.pop() if len(answers) == 1 else "EndpointCall[Any, Any]"
    lines = ["        self,\n", *(["        *,\n"] if taken else []), *taken, "        **wire_names: Criterion,\n"]
    said = endpoints[0].description
    return f'    def {name}(\n{"".join(lines)}    ) -> {returned}:\n        """{said[:1].upper()}{said[1:]}."""\n'


def _required(endpoint: Endpoint) -> frozenset[str]:
    return frozenset(parameter.field for parameter in endpoint.parameters if parameter.required)
