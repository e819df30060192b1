"""References are read from citations as archives word them, and written in forms that other programs read."""

from __future__ import annotations

import io
import json
import string

import pybtex.database
import pytest
import rispy
from bibtexparser.entrypoint import parse_string, write_string
from citeproc import Citation, CitationItem, CitationStylesBibliography, CitationStylesStyle, formatter
from citeproc.source.json import CiteProcJSON
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.services.citations import (
    IDC,
    TCIA,
    Author,
    CitationFormat,
    Reference,
    read_reference,
    write_references,
)
from tests.support.csl_data import csl_problems

HUGO = (
    "Hugo, G. D., Weiss, E., Ojeda-Fournier, H., &amp; Williamson, J. F.\n(2016). <i>Data from 4D Lung</i> (Version 2) "
    "[Data set]. The Cancer\nImaging Archive. https://doi.org/10.7937/K9/TCIA.2016.ELN8YGLE"
).replace("<i>", "").replace("</i>", "").replace("&amp;", "&")  # fmt: skip
MADE_UP = read_reference(HUGO, title="4D-Lung", license_name="CC BY 3.0")


def test_a_citation_is_taken_apart() -> None:
    assert MADE_UP.title == "Data from 4D Lung"
    assert [author.text for author in MADE_UP.authors] == [
        "Hugo, G. D.",
        "Weiss, E.",
        "Ojeda-Fournier, H.",
        "Williamson, J. F.",
    ]
    assert (MADE_UP.year, MADE_UP.version, MADE_UP.publisher) == (2016, "2", "The Cancer Imaging Archive")
    assert MADE_UP.doi == "10.7937/k9/tcia.2016.eln8ygle"


@pytest.mark.parametrize(
    ("names", "authors"),
    [
        ("Cancer Moonshot Biobank.", [("Cancer Moonshot Biobank", "")]),
        ("Smith, K., & The GTEx Consortium.", [("Smith", "K."), ("The GTEx Consortium", "")]),
        ("Armato III, Samuel G.; Li, Feng", [("Armato III", "Samuel G."), ("Li", "Feng")]),
        ("Armato III, Samuel G., Meyer, C. R.", [("Armato III", "Samuel G."), ("Meyer", "C. R.")]),
        ("King, M. L., Jr., & Wu, S.-ting", [("King", "M. L., Jr."), ("Wu", "S.-ting")]),
        ("Nohel, M., Válek V., Rohan T.", [("Nohel", "M."), ("Válek", "V."), ("Rohan", "T.")]),
        ("Bloch, B. N., … Ileva, lilia", [("Bloch", "B. N."), ("Ileva", "lilia")]),
    ],
)
def test_names_in_the_forms_that_archives_use(names: str, authors: list[tuple[str, str]]) -> None:
    read = read_reference(f"{names} (2020). T [Data set]. TCIA. https://doi.org/10.7937/x", title="")
    assert [(author.family, author.given) for author in read.authors] == authors


def test_a_citation_of_another_form_stays_whole() -> None:
    read = read_reference("See https://doi.org/10.7937/ABC.1.", title="Lung", url="https://example.org")
    assert (read.title, read.authors, read.doi) == ("Lung", (), "10.7937/abc.1")
    assert read.sentence == "See https://doi.org/10.7937/ABC.1."


def test_without_a_citation_there_is_a_sentence() -> None:
    assert read_reference(None, title="Lung", doi="10.7937/x").sentence == "Lung [Data set]. https://doi.org/10.7937/x"
    assert "RadioGraphics, 43, e230180. https://doi.org/10.1148/rg.230180" in IDC.sentence


def test_bibtex_is_read_by_another_parser() -> None:
    entries = pybtex.database.parse_string(write_references([MADE_UP, TCIA], CitationFormat.BIBTEX), "bibtex").entries
    first, second = entries.values()
    assert (first.type, second.type) == ("misc", "article")
    assert first.fields["doi"] == "10.7937/k9/tcia.2016.eln8ygle"
    assert first.fields["copyright"] == "CC BY 3.0"
    assert [" ".join(person.last_names) for person in first.persons["author"]][2] == "Ojeda-Fournier"


def test_bibtex_is_as_a_library_writes_it() -> None:
    """So the texts of a mirror stay what they were."""
    text = write_references([MADE_UP, TCIA, read_reference(None, title="Lung")], CitationFormat.BIBTEX)
    assert write_string(parse_string(text)) == text


def test_ris_is_read_again() -> None:
    first, second = rispy.loads(write_references([MADE_UP, IDC], CitationFormat.RIS))
    assert (first["type_of_reference"], second["type_of_reference"]) == ("DATA", "JOUR")
    assert (first["doi"], first["authors"][0]) == ("10.7937/k9/tcia.2016.eln8ygle", "Hugo, G. D.")


def test_csl_json_has_only_what_its_schema_knows() -> None:
    references = [MADE_UP, TCIA, IDC, Reference(title="Lung", doi="10.7937/x")]
    items = json.loads(write_references(references, CitationFormat.CSL_JSON))
    assert csl_problems(items) == []
    broken = [{**items[0], "licence": "CC BY"}, {**items[0], "issued": 2016}, {**items[0], "type": "data"}]
    assert [problem.partition(":")[0] for problem in csl_problems(broken)] == ["item 0", "item 1", "item 2"]


def test_csl_json_is_formatted_by_another_processor() -> None:
    items = json.loads(write_references([MADE_UP, TCIA], CitationFormat.CSL_JSON))
    style = CitationStylesStyle("harvard-cite-them-right", validate=False)
    bibliography = CitationStylesBibliography(style, CiteProcJSON(items), formatter.plain)
    for item in items:
        bibliography.register(Citation([CitationItem(item["id"])]))
    shown = [str(line) for line in bibliography.bibliography()]
    assert "Hugo" in shown[0]
    assert "2016" in shown[0]
    assert "Digital Imaging" in shown[1]


@pytest.mark.parametrize("form", list(CitationFormat))
def test_each_publication_is_written_once(form: CitationFormat) -> None:
    assert write_references([MADE_UP, MADE_UP, TCIA], form) == write_references([MADE_UP, TCIA], form)


def test_keys_of_different_publications_differ() -> None:
    same = [Reference(title="T", doi=doi) for doi in ("10.7937/a.b", "10.7937/ab", "10.1/ab")]
    items = json.loads(write_references(same, CitationFormat.CSL_JSON))
    assert [item["id"] for item in items] == ["T_ab", "T_ab_2", "T_ab_3"]


@pytest.mark.parametrize("form", list(CitationFormat))
def test_no_reference_is_an_empty_list(form: CitationFormat) -> None:
    assert write_references([], form) == ("[]\n" if form is CitationFormat.CSL_JSON else "")


WILD = st.text(alphabet=f"{string.ascii_letters} {{}}\\%&#$_~^\"',;@\n\r-éß…", min_size=1, max_size=40).filter(
    lambda text: text.split() != [] and any(character.isalpha() for character in text)
)


@given(titles=st.lists(WILD, min_size=1, max_size=3, unique=True), family=WILD)
def test_hostile_texts_make_no_second_entry(titles: list[str], family: str) -> None:
    references = [
        Reference(title=title, doi=f"10.7937/{number}", authors=(Author(family),))
        for number, title in enumerate(titles)
    ]
    parsed = pybtex.database.parse_string(write_references(references, CitationFormat.BIBTEX), "bibtex")
    assert len(parsed.entries) == len(titles)
    assert len(rispy.load(io.StringIO(write_references(references, CitationFormat.RIS)))) == len(titles)
