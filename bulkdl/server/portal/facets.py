"""Search by facets and words: how many Series match, how many have each value, and pages of them.

Values of one facet are alternatives; different facets and all words must be met. The count beside a value is what a
search has with that value and all other facets. A value that a Series does not have is an empty text.

Everything is counted from the table `alike`, which has a row for Series that differ in nothing but their UIDs, so that
an archive of a million Series answers at once.
"""

# ruff: noqa: S608 - SQL is made from our own names; values from outside are bound

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from multidict import MultiMapping

from bulkdl.server.catalogue import CatalogueView, SeriesDetail
from bulkdl.server.catalogue.view import Condition, all_of, among

FACETS: Final = {
    "collection": "Collection",
    "modality": "Modality",
    "body_part": "Body part",
    "species": "Species",
    "manufacturer": "Manufacturer",
    "year": "Year added",
    "license": "Licence",
}
"""The facets by their names in addresses, and their titles."""
WORDS: Final = "q"
PAGE: Final = 50
_MOST_VALUES: Final = 500
_MOST_WORDS: Final = 10
_MOST_CHARACTERS: Final = 200
_MOST_CHOSEN: Final = 200
_UIDS: Final = 500
_EVERY: Final = -1  # a LIMIT that is none
_KIND: Final = "kind"
_LICENSE: Final = "coalesce(json_extract(t.record, '$.license_name'), '')"
_KIND_WORDS: Final = (
    "("
    + " || ' ' || ".join(
        f"coalesce({name}, '')" for name in ("c.name", "t.modality", "t.body_part", "t.manufacturer", "t.model_key")
    )
    + ")"
)
_COLLECTIONS: Final = "JOIN collection AS c ON c.collection_key = t.collection_key"
_KINDS: Final = f"JOIN kind AS t ON t.number = a.kind {_COLLECTIONS}"
_GROUPED: Final = (
    "SELECT kind, year, species, sum(series) AS series, sum(images) AS images, sum(size_bytes) AS size_bytes "
)
_FOUND: Final = (
    "c.name AS collection, coalesce(t.modality, '') AS modality, coalesce(t.body_part, '') AS body_part, "
    f"coalesce(t.manufacturer, '') AS manufacturer, {_LICENSE} AS license"
)


@dataclass(frozen=True, slots=True)
class FacetSearch:
    """A search: the chosen values of each facet, and words that must all occur in the texts of a Series."""

    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether every Series matches."""
        return not self.chosen and not self.words

    def pairs(self) -> list[tuple[str, str]]:
        """The search as the parameters of an address."""
        words = [(WORDS, self.words)] if self.words else []
        return [*words, *((name, value) for name, values in self.chosen.items() for value in values)]

    def toggled(self, name: str, value: str) -> list[tuple[str, str]]:
        """The parameters of the same search with a value added, or removed if it is chosen."""
        pair = (name, value)
        pairs = self.pairs()
        return [one for one in pairs if one != pair] if pair in pairs else [*pairs, pair]


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value of a facet, and how many Series have it."""

    value: str
    series: int
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """What a search finds: the totals, and the values of each facet, the most frequent first.

    `kinds` are the kinds of Series that the next page needs, because each of them has at least one.
    """

    series: int
    images: int
    size_bytes: int
    values: Mapping[str, Sequence[FacetValue]]
    kinds: Sequence[int]


def parse_facets(query: MultiMapping[str]) -> FacetSearch:
    """The search in the parameters of an address. Other parameters are ignored."""
    chosen = {name: tuple(dict.fromkeys(query.getall(name)))[:_MOST_CHOSEN] for name in FACETS if name in query}
    return FacetSearch(chosen, query.get(WORDS, "").strip()[:_MOST_CHARACTERS])


def count_facets(view: CatalogueView, search: FacetSearch, kind: int = 0, most_kinds: int = PAGE + 2) -> FacetCounts:
    """Count what a search finds, and list the first kinds from number `kind` on that it finds, in one statement."""
    head, values = _found(view, search)
    parts, bound = [], list(values)
    for name in FACETS:
        where, chosen = all_of(_chosen(search, without=name))
        parts.append(f"SELECT '{name}', {name}, sum(series), 0, 0 FROM found {where} GROUP BY 2")
        bound += chosen
    where, chosen = all_of(_chosen(search))
    parts.append(f"SELECT '', '', sum(series), sum(images), sum(size_bytes) FROM found {where}")
    bound += chosen
    kinds, chosen = _kinds(search, kind, most_kinds)
    parts.append(f"SELECT * FROM ({kinds})")
    return _counted(view.select(f"WITH {head} {' UNION ALL '.join(parts)}", [*bound, *chosen]), search)


def _kinds(search: FacetSearch, first: int, most: int) -> tuple[str, Sequence[Any]]:
    """The statement that lists kinds of what is found, as rows of counts, and its values."""
    where, chosen = all_of([*_chosen(search), ("kind >= ?", (first,))])
    return f"SELECT DISTINCT '{_KIND}', kind, 0, 0, 0 FROM found {where} ORDER BY kind LIMIT {most}", chosen


def _counted(rows: list[tuple[str, Any, int, int, int]], search: FacetSearch) -> FacetCounts:
    counted: dict[str, list[FacetValue]] = {name: [] for name in FACETS}
    totals, kinds = (0, 0, 0), list[int]()
    for name, value, *numbers in rows:
        if name == _KIND:
            kinds.append(value)
        elif name:
            counted[name].append(FacetValue(value, numbers[0], value in search.chosen.get(name, ())))
        else:
            totals = tuple(number or 0 for number in numbers)  # type: ignore[assignment]
    return FacetCounts(*totals, {name: _ordered(found, search, name) for name, found in counted.items()}, kinds)


def _ordered(found: list[FacetValue], search: FacetSearch, name: str) -> list[FacetValue]:
    """The values by their counts; chosen ones that nothing has any more are kept, so that they can be removed."""
    known = {one.value for one in found}
    missing = [FacetValue(one, 0, is_chosen=True) for one in search.chosen.get(name, ()) if one not in known]
    by_count = sorted(found, key=lambda one: (not one.is_chosen, -one.series, one.value))
    return [*missing, *by_count][:_MOST_VALUES]


def series_of_kinds(
    view: CatalogueView, search: FacetSearch, kinds: Sequence[int], after: tuple[int, int] = (0, 0), limit: int = PAGE
) -> tuple[list[SeriesDetail], tuple[int, int] | None]:
    """A page of the Series that match, and the position behind it; None at the end.

    `kinds` are those of `FacetCounts`: two more than there are Series on the page are enough.
    """
    rows = _rows(view, search, kinds, after, limit + 1)
    uids = [uid for _, _, uid in rows[:limit]]
    found = {detail.series.series_uid: detail for detail in view.details_of(uids)}
    behind = (rows[limit - 1][0], rows[limit - 1][1]) if len(rows) > limit else None
    return [found[uid] for uid in uids if uid in found], behind  # type: ignore[index]


def all_series(view: CatalogueView, search: FacetSearch) -> Iterator[str]:
    """The UIDs of all Series that match, read in pages."""
    head, values = _found(view, search)
    statement, chosen = _kinds(search, 0, _EVERY)
    kinds = (kind for _, kind, *_ in view.select(f"WITH {head} {statement}", [*values, *chosen]))
    while some := list(islice(kinds, _UIDS)):
        after = (0, 0)
        while rows := _rows(view, search, some, after, _UIDS):
            yield from (uid for _, _, uid in rows)
            after = rows[-1][:2]


def _rows(
    view: CatalogueView, search: FacetSearch, kinds: Sequence[int], after: tuple[int, int], limit: int
) -> list[tuple[int, int, str]]:
    """Kind, number and UID of the next Series of these kinds."""
    conditions: list[Condition] = [among("s.kind", kinds), ("(s.kind, s.number) > (?, ?)", after)]
    if years := search.chosen.get("year"):
        conditions.append(among("substr(s.since, 1, 4)", years))
    if species := search.chosen.get("species"):
        conditions.append(among("coalesce(json_extract(p.record, '$.species_description'), '')", species))
    conditions += _words(search, "s.description", "s.kind")
    where, values = all_of(conditions)
    return view.select(
        "SELECT s.kind, s.number, s.series_uid FROM series AS s JOIN patient AS p ON p.number = s.patient "
        f"{where} ORDER BY s.kind, s.number LIMIT {limit}",
        values,
    )


def _found(view: CatalogueView, search: FacetSearch) -> Condition:
    """The table of a WITH clause that has what matches the words: for each kind, year and species the facets."""
    columns = f"SELECT a.kind, a.year, a.species, a.series, a.images, a.size_bytes, {_FOUND}"
    words, values = all_of(_words(search, "alike.description", "alike.kind"))
    where, hidden = view.where()
    grouped = f"{_GROUPED} FROM alike {words} GROUP BY 1, 2, 3"
    return f"found AS MATERIALIZED ({columns} FROM ({grouped}) AS a {_KINDS} {where})", [*values, *hidden]


def _words(search: FacetSearch, description: str, kind: str) -> list[Condition]:
    """That each word occurs in the description of a Series, or in what its kind says."""
    kinds = f"SELECT t.number FROM kind AS t {_COLLECTIONS} WHERE {_KIND_WORDS} LIKE ? ESCAPE '\\'"
    return [
        (f"({description} LIKE ? ESCAPE '\\' OR {kind} IN ({kinds}))", (pattern_of(word),) * 2)
        for word in sorted(search.words.split()[:_MOST_WORDS], key=len, reverse=True)  # long ones leave least to search
    ]


def pattern_of(word: str) -> str:
    """The pattern of LIKE for texts that contain a word."""
    return "%" + word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"


def _chosen(search: FacetSearch, *, without: str = "") -> list[Condition]:
    return [among(name, values) for name, values in search.chosen.items() if name != without]


def describe(search: FacetSearch) -> str:
    """The search in words, for a title."""
    parts: list[Any] = [search.words] if search.words else []
    parts += [", ".join(value or "not stated" for value in values) for values in search.chosen.values()]
    return " · ".join(parts) or "All series"
