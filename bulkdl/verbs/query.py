"""`query`: one endpoint of an archive, asked with its own parameters; the answer as the archive sent it."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from bulkdl.archive.http import ArchiveClient, connect
from bulkdl.archive.nbia.dialect import Dialect
from bulkdl.archive.nbia.dialects import find_endpoint
from bulkdl.archive.nbia.endpoints import Endpoint, Kind, Parameter
from bulkdl.archive.profiles import DEMO, Profile, find_profile
from bulkdl.archive.row_reader import RowReader
from bulkdl.errors import ConfigurationError
from bulkdl.fetch.worker import DEFAULT_CEILING, WorkerSettings, make_retrier
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.settings import FetchSettings
from bulkdl.model.text import did_you_mean, nearest
from bulkdl.verbs.common import find_archive


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """An answer as it came. `body` may be empty: that is how NBIA says that nothing was found."""

    content_type: str
    body: bytes


def endpoints(archive: ArchiveChoice) -> tuple[Endpoint, ...]:
    """The endpoints that the archive of that name has, in the order of its documentation.

    Raises:
        ConfigurationError: no such archive.
    """
    return tuple(dialect_of(archive).endpoints.values())


def dialect_of(archive: ArchiveChoice) -> Dialect:
    """The dialect that the archive of that name speaks.

    Raises:
        ConfigurationError: no such archive.
    """
    return profile_of(archive).dialect()


def profile_of(archive: ArchiveChoice) -> Profile:
    """The profile of an archive, without asking anybody: the demonstration archive speaks what its address will.

    Raises:
        ConfigurationError: no such archive.
    """
    name = "nbia+http://localhost/nbia-api/services" if archive.name == DEMO else archive.name
    return find_profile(name, archive.profiles)


@asynccontextmanager
async def asking(
    archive: ArchiveChoice, *, settings: FetchSettings | None = None, sink: Sink = ignore
) -> AsyncIterator[ArchiveClient]:
    """A client for questions to the archive; it asks three times, and waits half a minute for a silent archive.

    Raises:
        ConfigurationError: no such archive, or certificates that cannot be read.
    """
    async with find_archive(archive) as profile:
        worker_settings = WorkerSettings(
            profile=profile,
            access=archive.access,
            root=Path(),
            fetch=settings or FetchSettings(max_attempts=3, give_up_after_seconds=30),
            ceiling=DEFAULT_CEILING,
        )
        retrier = make_retrier(worker_settings, sink, asyncio.Event())
        async with connect(profile, retrier, access=archive.access, note=lambda text: sink(Noted(text))) as client:
            yield client


async def query(
    endpoint: str,
    parameters: Sequence[tuple[str, str]],
    *,
    archive: ArchiveChoice,
    settings: FetchSettings | None = None,
) -> QueryAnswer:
    """Ask one endpoint, whose name may be written in any case.

    Raises:
        ConfigurationError: no such archive, endpoint or parameter, or a required parameter is missing.
        ArchiveError: the archive refused, failed, or could not be reached.
    """
    asked = find(endpoint, archive)
    check(asked, [name for name, _ in parameters])
    async with asking(archive, settings=settings) as client:
        content_type, body = await client.query(asked, parameters)
        return QueryAnswer(content_type, body)


def find(endpoint: str, archive: ArchiveChoice) -> Endpoint:
    """The endpoint of that name, in any case, that the archive has.

    Raises:
        ConfigurationError: no such archive or endpoint; names the nearest one.
    """
    return find_among({entry.name: entry for entry in endpoints(archive)}, endpoint, archive.name)


def find_among(known: Mapping[str, Endpoint], name: str, archive: str) -> Endpoint:
    """The endpoint of that name, in any case.

    Raises:
        ConfigurationError: there is none; says so of `archive`, and names the nearest one.
    """
    if (found := find_endpoint(known, name)) is not None:
        return found
    hint = did_you_mean(name, known, otherwise=" (bulkdl query --list names those it has)")
    raise ConfigurationError(f"{archive} has no endpoint {name!r}{hint}")


def check(endpoint: Endpoint, parameters: Iterable[str]) -> None:
    """Refuse what the archive would silently ignore: a misspelt filter makes NBIA answer with everything.

    Raises:
        ConfigurationError: an unknown parameter, one twice that is taken once, or a required one is missing.
    """
    given = list(parameters)
    known = [parameter.name for parameter in endpoint.parameters]
    if endpoint.has_format:
        known.append("format")
    for name in given:
        parameter = endpoint.parameter(name)
        if parameter is None and name not in known:
            raise ConfigurationError(f"{endpoint.name} has no parameter {name!r}; {_hint(name, known)}")
        if given.count(name) > 1 and not (parameter is not None and parameter.is_repeatable):
            raise ConfigurationError(f"{endpoint.name} takes {name} once")
    stems = {parameter.name for name in given if (parameter := endpoint.parameter(name)) is not None}
    if missing := [name for name in endpoint.required if name not in stems]:
        raise ConfigurationError(f"{endpoint.name} needs {', '.join(f'{name}=…' for name in missing)}")


def _hint(name: str, known: Sequence[str]) -> str:
    if not known:
        return "it takes none"
    guess = nearest(name, known)
    hint = f"did you mean {guess}" if guess else f"it takes {', '.join(sorted(known))}"
    return f"{hint} (names are case-sensitive)"


def wire_parameters(endpoint: Endpoint, criteria: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Criteria, named by our words or as they go over the wire, as the parameters of a request.

    A criterion that is None is left out; one that the endpoint takes several times, or numbers, may be a list.

    Raises:
        ConfigurationError: as `check`; or a value that cannot be written.
    """
    by_field = {parameter.field: parameter for parameter in endpoint.parameters}
    pairs: list[tuple[str, str]] = []
    for name, value in criteria.items():
        if value is None:
            continue
        parameter = by_field.get(name) or endpoint.parameter(name)
        if parameter is None and name != "format":
            raise ConfigurationError(f"{endpoint.name} has no criterion {name!r}; {_hint(name, list(by_field))}")
        values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        if parameter is None:
            pairs += [(name, str(each)) for each in values]
        elif parameter.is_numbered and parameter.field == name:
            pairs += [(f"{parameter.name}{number}", _text(parameter, each)) for number, each in enumerate(values)]
        elif parameter.separator:
            pairs.append((parameter.name, parameter.separator.join(_text(parameter, each) for each in values)))
        else:
            wire_name = parameter.name if name == parameter.field else name
            pairs += [(wire_name, _text(parameter, each)) for each in values]
    check(endpoint, [name for name, _ in pairs])
    return tuple(pairs)


def _text(parameter: Parameter, value: object) -> str:
    if isinstance(value, bool):
        yes, no = ("Yes", "No") if parameter.kind is Kind.YES_NO else ("true", "false")
        return yes if value else no
    if isinstance(value, date):
        if parameter.date_form is None:
            raise ConfigurationError(f"{parameter.name} is no date")
        return value.strftime(parameter.date_form)
    if not isinstance(value, str | int | float):
        raise ConfigurationError(f"{parameter.name} takes a text or a number, not {type(value).__name__}")
    return str(value)


def rows_of(body: bytes) -> list[dict[str, Any]]:
    """The rows of an answer in JSON, or in CSV with a header.

    Raises:
        ValueError: it is neither.
    """
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in {b"", b"[", b"{", b"n", b"<"}:
        reader = RowReader()
        return [*reader.feed(body), *reader.close()]
    try:
        text = body.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"no list of rows: {error}") from error
    if any(None in row for row in rows):
        raise ValueError("a table with more fields than heads")
    return [dict(row) for row in rows]
