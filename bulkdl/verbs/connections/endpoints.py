"""The endpoints of an archive: find one, check its parameters, and read the rows of its response."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, TypeAlias

from bulkdl.archive.nbia import endpoints as tables
from bulkdl.archive.nbia.dialects import DIALECTS, Dialect, find_endpoint
from bulkdl.archive.nbia.endpoints import Answer, Kind, Parameter
from bulkdl.archive.profiles import Profile, find_profile
from bulkdl.archive.row_reader import RowReader
from bulkdl.errors import ConfigurationError
from bulkdl.model.access import DEMO, DEMO_IDC, DEMO_PATHDB, ArchiveChoice
from bulkdl.model.text import did_you_mean, nearest

Endpoint: TypeAlias = tables.Endpoint


def answers_with_rows(endpoint: Endpoint) -> bool:
    """Whether the endpoint answers with rows, which can be shown as a table."""
    return endpoint.answer in {Answer.ROWS, Answer.OBJECT}


def answers_with_file(endpoint: Endpoint) -> bool:
    """Whether the endpoint answers with binary content: a DICOM file, a zip or a picture."""
    return endpoint.answer in {Answer.INSTANCE, Answer.BUNDLE, Answer.PICTURE}


def endpoints(archive: ArchiveChoice) -> tuple[Endpoint, ...]:
    """The endpoints of an archive, in the order of its documentation."""
    return tuple(dialect_of(archive).endpoints.values())


def dialect_of(archive: ArchiveChoice) -> Dialect:
    """The dialect of an archive. Raises ConfigurationError: there is no such archive, or it has no endpoints."""
    profile = profile_of(archive).with_endpoints
    if profile.kind not in DIALECTS:
        raise without_endpoints(profile.name)
    return DIALECTS[profile.kind]()


def without_endpoints(name: str) -> ConfigurationError:
    """The error for a call of an endpoint of an archive that has none."""
    return ConfigurationError(f"the archive {name} has no endpoints to query")


_ADDRESSES: Final = {
    DEMO: "nbia+http://localhost/nbia-api/services",
    DEMO_IDC: "idc+http://localhost",
    DEMO_PATHDB: "pathdb+http://localhost",
}


def profile_of(archive: ArchiveChoice) -> Profile:
    """The profile of an archive, without a request; that of the demonstration archive has its dialect only."""
    return find_profile(_ADDRESSES.get(archive.name, archive.name), archive.profiles, forms=archive.forms)


def find(endpoint: str, archive: ArchiveChoice) -> Endpoint:
    """The endpoint of that name, in any case. Raises ConfigurationError: there is no such archive or endpoint."""
    return find_among({entry.name: entry for entry in endpoints(archive)}, endpoint, archive.name)


def find_among(known: Mapping[str, Endpoint], name: str, archive: str) -> Endpoint:
    """As `find`, among those `known` of an archive; the error suggests the nearest one."""
    if (found := find_endpoint(known, name)) is not None:
        return found
    hint = did_you_mean(name, known, otherwise=" (bulkdl query --list shows all)")
    raise ConfigurationError(f"{archive} has no endpoint {name!r}{hint}")


def check(endpoint: Endpoint, parameters: Iterable[str]) -> list[str]:
    """Return the names of parameters as the archive writes them; they may be given in any case.

    Raises ConfigurationError for parameters that are missing, repeated, or that NBIA would silently ignore: with a
    misspelt filter it answers with everything.
    """
    known = [parameter.name for parameter in endpoint.parameters]
    if endpoint.has_format:
        known.append("format")
    in_any_case = {name.casefold(): name for name in known}
    given = [name if endpoint.parameter(name) else in_any_case.get(name.casefold(), name) for name in parameters]
    for name in given:
        parameter = endpoint.parameter(name)
        if parameter is None and name not in known:
            raise ConfigurationError(f"{endpoint.name} has no parameter {name!r}; {_hint(name, known)}")
        if given.count(name) > 1 and not (parameter is not None and parameter.is_repeatable):
            raise ConfigurationError(f"{endpoint.name} accepts {name} only once")
    stems = {parameter.name for name in given if (parameter := endpoint.parameter(name)) is not None}
    if missing := [name for name in endpoint.required if name not in stems]:
        raise ConfigurationError(f"{endpoint.name} requires {', '.join(f'{name}=…' for name in missing)}")
    return given


def _hint(name: str, known: Sequence[str]) -> str:
    if not known:
        return "it has no parameters"
    guess = nearest(name, known)
    return f"did you mean {guess}?" if guess else f"it has {', '.join(sorted(known))}"


def wire_parameters(endpoint: Endpoint, criteria: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The parameters of a request for criteria, which have the names of `describe` or those of the archive.

    A criterion that is None is left out. One that the endpoint accepts several times, or numbers, may be a list. Raises
    ConfigurationError as `check`, or for a value of the wrong type.
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
    return tuple(zip(check(endpoint, [name for name, _ in pairs]), [value for _, value in pairs], strict=True))


def _text(parameter: Parameter, value: object) -> str:
    if isinstance(value, bool):
        yes, no = ("Yes", "No") if parameter.kind is Kind.YES_NO else ("true", "false")
        return yes if value else no
    if isinstance(value, date):
        if parameter.date_form is None:
            raise ConfigurationError(f"{parameter.name} is not a date")
        return value.strftime(parameter.date_form)
    if not isinstance(value, str | int | float):
        raise ConfigurationError(f"{parameter.name} must be text or a number, not {type(value).__name__}")
    return str(value)


def rows_of(body: bytes) -> list[dict[str, Any]]:
    """The rows of a response in JSON, or in CSV with a header. Raises ValueError: it is neither."""
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in {b"", b"[", b"{", b"n", b"<"}:
        reader = RowReader()
        return [*reader.feed(body), *reader.close()]
    try:
        text = body.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"something other than rows: {error}") from error
    if any(None in row for row in rows):
        raise ValueError("a table with more fields than columns")
    return [dict(row) for row in rows]
