"""The rules of CSL-JSON, the input of citation processors, as a check: which variables there are, and their types.

Written from the data schema of the Citation Style Language, version 1.0.2: an item has a type and an id, and only
variables that the specification knows.
"""

# ruff: noqa: SIM905 - lists of words are read as words

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_TYPES: Final = frozenset(
    """
    article article-journal article-magazine article-newspaper bill book broadcast chapter classic collection
    dataset document entry entry-dictionary entry-encyclopedia figure graphic hearing interview legal_case
    legislation manuscript map motion_picture musical_score pamphlet paper-conference patent performance
    periodical personal_communication post post-weblog regulation report review review-book software song speech
    standard thesis treaty webpage
    """.split()
)
_TEXTS: Final = frozenset(
    """
    language journalAbbreviation shortTitle abstract annote archive archive_collection archive_location
    archive-place authority call-number citation-label collection-title container-title container-title-short
    dimensions division DOI event event-place event-title genre ISBN ISSN jurisdiction keyword medium note
    original-publisher original-publisher-place original-title part-title PMCID PMID publisher publisher-place
    references reviewed-genre reviewed-title scale source status title title-short translated-title URL version
    volume-title year-suffix
    """.split()
)
_NUMBERS: Final = frozenset(
    """
    chapter-number citation-number collection-number edition first-reference-note-number issue locator number
    number-of-pages number-of-volumes page page-first part printing section supplement volume
    """.split()
)
_NAMES: Final = frozenset(
    """
    author chair collection-editor compiler composer container-author contributor curator director editor
    editorial-director executive-producer guest host illustrator interviewer narrator organizer original-author
    performer producer recipient reviewed-author script-writer series-creator translator
    """.split()
)
_DATES: Final = frozenset(
    """
    accessed available-date event-date issued original-date submitted
    """.split()
)
_PARTS_OF_A_NAME: Final = frozenset(
    """
    family given dropping-particle non-dropping-particle suffix literal
    """.split()
)
_MOST_DATE_PARTS: Final = 3


def csl_problems(document: Any) -> list[str]:
    """What is wrong with a CSL-JSON document; nothing if it is valid."""
    if not isinstance(document, list):
        return ["the document is not an array"]
    return [f"item {number}: {problem}" for number, item in enumerate(document) for problem in _of_item(item)]


def _of_item(item: Any) -> Iterator[str]:
    if not isinstance(item, dict):
        yield "not an object"
        return
    if item.get("type") not in _TYPES:
        yield f"the type {item.get('type')!r}"
    if not isinstance(item.get("id"), str | int):
        yield "no id"
    for name, value in item.items():
        if name not in {"type", "id"} and not _is_valid(name, value):
            yield f"{name} is {value!r}"


def _is_valid(name: str, value: Any) -> bool:
    if name in _TEXTS:
        return isinstance(value, str)
    if name in _NUMBERS:
        return isinstance(value, str | int | float) and not isinstance(value, bool)
    if name in _NAMES:
        return isinstance(value, list) and all(_is_name(each) for each in value)
    return name in _DATES and _is_date(value)


def _is_name(value: Any) -> bool:
    is_known = isinstance(value, dict) and value.keys() <= _PARTS_OF_A_NAME and bool(value)
    return is_known and all(isinstance(part, str) for part in value.values())


def _is_date(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {"date-parts", "season", "circa", "literal", "raw"}:
        return False
    dates = value.get("date-parts", [])
    return len(dates) <= 2 and all(
        isinstance(date, list)
        and 0 < len(date) <= _MOST_DATE_PARTS
        and all(isinstance(part, str | int) for part in date)
        for date in dates
    )
