"""Facets and words against a plain look at every Series."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from multidict import MultiDict

from bulkdl.server.catalogue import Catalogue, CatalogueView, Root
from bulkdl.server.portal.facets import FACETS, FacetSearch, all_series, count_facets, parse_facets, series_of_kinds
from tests.server.portal.conftest import HOSTILE, SECRET, write_collections


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    folder = tmp_path_factory.mktemp("facets")
    write_collections(folder / "served")
    with Catalogue.open(folder / "catalogue.sqlite") as opened:
        opened.scan([Root(folder / "served" / name, name) for name in ("OPEN", "MIXED", SECRET)])
        yield opened


def plainly(view: CatalogueView, search: FacetSearch) -> set[str]:
    """The Series that match, one looked at after the other."""
    found = set[str]()
    for detail in view.details():
        one = detail.series
        text = " ".join(filter(None, (one.description, one.collection, one.modality, one.body_part, one.manufacturer)))
        values = {
            "collection": one.collection,
            "modality": one.modality,
            "body_part": one.body_part,
            "species": detail.patient.species_description,
            "manufacturer": one.manufacturer,
            "year": str(one.released or one.submitted)[:4],
            "license": one.license_name,
        }
        is_chosen = all((values[name] or "") in chosen for name, chosen in search.chosen.items())
        if is_chosen and all(word.lower() in text.lower() for word in search.words.split()):
            found.add(one.series_uid)
    return found


SEARCHES = {
    "everything": FacetSearch(),
    "a collection": FacetSearch({"collection": ("OPEN",)}),
    "two values": FacetSearch({"modality": ("CT", "MR"), "collection": ("OPEN", "MIXED")}),
    "a value that is missing": FacetSearch({"license": ("",)}),
    "none of it": FacetSearch({"body_part": ("CHEST",), "modality": ("MR",)}),
    "a word": FacetSearch(words="chest"),
    "two words": FacetSearch(words="CHEST open"),
    "a word of the kind": FacetSearch(words="liver"),
    "hostile words": FacetSearch(words=HOSTILE[:20]),
    "wildcards": FacetSearch(words="%"),
    "a word and a facet": FacetSearch({"collection": ("OPEN",)}, "example"),
}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("hidden", [frozenset[str](), frozenset({SECRET})], ids=["all", "restricted"])
def test_finds_and_counts_what_matches(catalogue: Catalogue, name: str, hidden: frozenset[str]) -> None:
    view, search = catalogue.without(hidden), SEARCHES[name]
    expected = plainly(view, search)
    counts = count_facets(view, search)
    assert set(all_series(view, search)) == expected
    assert counts.series == len(expected)
    everything = count_facets(view, FacetSearch())
    for facet in FACETS:
        listed = {value.value: value.series for value in counts.values[facet] if value.series}
        for value in everything.values[facet]:
            alone = FacetSearch({**search.chosen, facet: (value.value,)}, search.words)
            assert listed.pop(value.value, 0) == len(plainly(view, alone))
        assert not listed


def test_pages_are_everything_once(catalogue: Catalogue) -> None:
    seen, after = [], (0, 0)
    while True:
        kinds = count_facets(catalogue, FacetSearch(), after[0], 4).kinds
        details, behind = series_of_kinds(catalogue, FacetSearch(), kinds, after, limit=2)
        seen += [detail.series.series_uid for detail in details]
        if behind is None:
            break
        after = behind
    assert sorted(seen) == sorted(catalogue.series_uids())


def test_addresses_keep_the_search_and_bound_it() -> None:
    query = MultiDict([("modality", "CT"), ("modality", "MR"), ("q", " liver "), ("other", "x"), ("species", "")])
    search = parse_facets(query)
    assert parse_facets(MultiDict(search.pairs())) == search
    assert ("modality", "CT") not in search.toggled("modality", "CT")
    assert ("modality", "US") in search.toggled("modality", "US")
    assert len(parse_facets(MultiDict([("q", "x" * 10_000)])).words) == 200
