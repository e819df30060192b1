"""Read the parameters of a search (QIDO-RS): criteria, fields, and which part of the results. Pure.

Unknown parameters are ignored, as the standard wants it, and named in a `Warning` header, because a search without them
finds more. Source: PS3.18 §8.3.4 (query parameters), PS3.4 §C.2.2.2 (matching).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Final

from bulkdl.model.text import shortened
from bulkdl.server.catalogue.hierarchy import Between, Criterion, EqualTo, Like, OneOf
from bulkdl.server.dicomweb.attributes import BY_NAME, Level, SearchAttribute, is_universal
from bulkdl.server.dicomweb.exchange import DicomWebRefusal

_OWN: Final = frozenset(
    {"limit", "offset", "includefield", "fuzzymatching", "emptyvaluematching", "multiplevaluematching", "accept"}
)
_WITHOUT_FUZZY: Final = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,12}", re.ASCII)
_DATE: Final = re.compile(r"([0-9]{8})?(-)?([0-9]{8})?", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9.]{1,64}", re.ASCII)
_LONGEST_PATTERN: Final = 256
_MOST_NAMED: Final = 5
_MOST_CRITERIA: Final = 100  # they become one expression of SQLite, which may be 1,000 deep, and so do patterns
_MOST_PATTERNS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched. `fields` are tags, None for all; `limit` is None without one.

    `finds_nothing` if a criterion is for what the catalogue does not have. `warnings` are sentences for the client.
    """

    level: Level
    criteria: tuple[tuple[str, Criterion], ...] = ()
    fields: frozenset[str] | None = frozenset()
    limit: int | None = None
    offset: int = 0
    finds_nothing: bool = False
    warnings: tuple[str, ...] = ()


def read_search(level: Level, path: Mapping[str, str], parameters: Iterable[tuple[str, str]]) -> Search:
    """The search at a level, of the UIDs that are in its `path` by criterion, and of its parameters.

    Raises:
        DicomWebRefusal: a parameter is invalid.
    """
    criteria: list[tuple[str, Criterion]] = [(name, OneOf((uid,))) for name, uid in path.items()]
    own: dict[str, list[str]] = {}
    ignored: list[str] = []
    unknown: list[str] = []
    for name, value in parameters:
        attribute = _attribute(name)
        if name in _OWN:
            own.setdefault(name, []).append(value)
        elif attribute is None or (attribute.level is Level.INSTANCE and level is not Level.INSTANCE):
            ignored.append(name)
        elif not is_universal(value):
            if attribute.criterion is not None:
                criteria.append((attribute.criterion, _criterion(attribute, value)))
            elif attribute.of is None:
                unknown.append(attribute.keyword)
            else:
                ignored.append(name)
    criteria = list(dict.fromkeys(criteria))
    if len(criteria) > _MOST_CRITERIA:
        raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, f"a search has more than {_MOST_CRITERIA} criteria")
    return Search(
        level=level,
        criteria=tuple(criteria),
        fields=_fields(own.get("includefield", ())),
        limit=_number(own, "limit"),
        offset=_number(own, "offset") or 0,
        finds_nothing=bool(unknown),
        warnings=tuple(_warnings(own, ignored, unknown)),
    )


def _attribute(name: str) -> SearchAttribute | None:
    return BY_NAME.get(name) or BY_NAME.get(name.upper())


def _criterion(attribute: SearchAttribute, value: str) -> Criterion:
    match attribute.vr:
        case "UI":
            return OneOf(_listed(attribute, value))
        case "CS":
            patterns = tuple(dict.fromkeys(map(_pattern, _listed(attribute, value))))
            if len(patterns) > _MOST_PATTERNS:
                raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, f"a list has more than {_MOST_PATTERNS} values")
            return Like(patterns)
        case "DA":
            return _dates(attribute, value.strip())
        case "IS":
            if _INTEGER.fullmatch(value.strip()) is None:
                raise _refusal(attribute.keyword, value, "a number")
            return EqualTo(int(value))
    return Like((_pattern(value),))


def _listed(attribute: SearchAttribute, value: str) -> tuple[str, ...]:
    """The values of a list: the standard's separator is the comma, OHIF sends backslashes."""
    found = tuple(one.strip() for one in re.split(r"[,\\]", value) if one.strip())
    if not found:
        raise _refusal(attribute.keyword, value, "a list of values")
    return found


def _pattern(value: str) -> str:
    pattern = re.sub(r"\*+", "*", value.strip())
    if len(pattern) > _LONGEST_PATTERN:
        raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, f"a value has more than {_LONGEST_PATTERN} characters")
    return pattern


def _dates(attribute: SearchAttribute, value: str) -> Between:
    """A date, or a range whose ends may be open."""
    found = _DATE.fullmatch(value)
    if found is None or not (found[1] or found[3]) or (found[3] and not found[2]):
        raise _refusal(attribute.keyword, value, "a date (YYYYMMDD) or a range of dates (YYYYMMDD-YYYYMMDD)")
    try:
        first, last = (date.fromisoformat(one).isoformat() if one else None for one in (found[1], found[3]))
    except ValueError:
        raise _refusal(attribute.keyword, value, "a date (YYYYMMDD)") from None
    return Between(first, last if found[2] else first)


def _fields(names: Iterable[str]) -> frozenset[str] | None:
    """The tags of the fields that are asked for, as far as they are known; None is all."""
    wanted = [name.strip() for one in names for name in one.split(",")]
    if "all" in wanted:
        return None
    return frozenset(found.tag for name in wanted if (found := _attribute(name)) is not None)


def _number(own: Mapping[str, list[str]], name: str) -> int | None:
    if name not in own:
        return None
    (value, *_) = own[name]
    if _NUMBER.fullmatch(value) is None:
        raise _refusal(name, value, "an unsigned number")
    return int(value)


def _warnings(own: Mapping[str, list[str]], ignored: Iterable[str], unknown: Iterable[str]) -> Iterable[str]:
    if any(value.lower() == "true" for value in own.get("fuzzymatching", ())):
        yield _WITHOUT_FUZZY
    if named := [name for name in dict.fromkeys(ignored) if _NAME.fullmatch(name)][:_MOST_NAMED]:
        yield f"These parameters are not supported here and were ignored: {', '.join(named)}."
    for keyword in dict.fromkeys(unknown):
        yield f"This server does not know the {keyword} of studies, so that nothing matches it."


def _refusal(name: str, value: str, wanted: str) -> DicomWebRefusal:
    return DicomWebRefusal(HTTPStatus.BAD_REQUEST, f"{name}: {shortened(value, 40)!r} is not {wanted}")
