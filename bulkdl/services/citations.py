"""References to data sets, and their forms: text, BibTeX, RIS and CSL-JSON.

Archives give a citation as text, in the style of the American Psychological Association (APA), as DataCite formats it.
`read_reference` takes it apart; of a text of another form only the title and the DOI are known.

Source: DataCite's content negotiation for `text/x-bibliography; style=apa`; the data schema of CSL 1.0.2; RIS as rispy
writes it; BibTeX's `misc`, which DataCite uses for data sets, too.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from bulkdl.model.descriptions import CollectionDescription, ResultDescription
from bulkdl.model.dois import doi_in
from bulkdl.model.text import one_line

_APA: Final = re.compile(
    r"(?P<authors>.{2,}?)\s*\((?P<year>(?:19|20)\d\d)[^()]{0,20}\)\.?\s+(?P<title>.+?)"
    r"(?:\s+\(Version (?P<version>[^()]{1,40})\)(?:\s+\[Data ?set\])?|\s+\[Data ?set\])\."
    r"\s+(?P<publisher>[^.]+?)\.\s+https?://",
    re.IGNORECASE | re.DOTALL,
)
_INITIALS: Final = re.compile(r"[^\W\d_]{1,3}\.(?:[\s-]*[^\W\d_]{1,8}\.?){0,6}")
_WITH_INITIALS: Final = re.compile(rf"(?P<family>.+?)\s+(?P<given>{_INITIALS.pattern})")
_JUNIOR: Final = re.compile(r"(?:Jr|Sr|[IV]{1,3})\.?")
_TEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\textbraceleft{}",  # BibTeX counts braces that are escaped, too
        "}": r"\textbraceright{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "%&#$_"},
    }
)


class CitationFormat(StrEnum):
    """How references are written."""

    TEXT = "text"
    BIBTEX = "bibtex"
    RIS = "ris"
    CSL_JSON = "csl-json"


@dataclass(frozen=True, slots=True)
class Author:
    """A person by family and given names. An organization, or a name that cannot be divided, is a family name alone."""

    family: str
    given: str = ""

    @property
    def text(self) -> str:
        """`Clark, K.`, or the whole name."""
        return f"{self.family}, {self.given}" if self.given else self.family


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a list of references has of a publication. Absent values are None.

    `doi` is in lower case, without the address of a resolver. `kind` is a type of CSL, `text` the archive's citation.
    """

    title: str
    authors: tuple[Author, ...] = ()
    year: int | None = None
    doi: str | None = None
    url: str | None = None
    publisher: str | None = None
    version: str | None = None
    license: str | None = None
    kind: str = "dataset"
    journal: str | None = None
    volume: str | None = None
    pages: str | None = None
    text: str | None = None

    @property
    def address(self) -> str | None:
        """The address of the DOI, or `url`."""
        return f"https://doi.org/{self.doi}" if self.doi else self.url

    @property
    def key(self) -> str:
        """A key for BibTeX and CSL-JSON, always the same: first author, year, and the end of the DOI."""
        name = self.authors[0].family if self.authors else self.title
        parts = (name, str(self.year or ""), (self.doi or "").rpartition("/")[2].rpartition("tcia.")[2])
        return "_".join(filter(None, (re.sub(r"[^A-Za-z0-9]+", "", part)[:40] for part in parts))) or "reference"

    @property
    def sentence(self) -> str:
        """The citation as the archive words it, or one in the same style."""
        if self.text:
            return self.text
        authors = f"{', '.join(author.text for author in self.authors)} " if self.authors else ""
        year = f"({self.year}). " if self.year else ""
        kind = " [Data set]" if self.kind == "dataset" else ""
        source = ", ".join(filter(None, (self.journal or self.publisher, self.volume, self.pages)))
        return " ".join(filter(None, (f"{authors}{year}{self.title}{kind}.", source and f"{source}.", self.address)))


TCIA_PREFIX: Final = "10.7937/"
TCIA: Final = Reference(
    title="The Cancer Imaging Archive (TCIA): Maintaining and Operating a Public Information Repository",
    authors=(
        *(Author("Clark", "K."), Author("Vendt", "B."), Author("Smith", "K."), Author("Freymann", "J.")),
        *(Author("Kirby", "J."), Author("Koppel", "P."), Author("Moore", "S."), Author("Phillips", "S.")),
        *(Author("Maffitt", "D."), Author("Pringle", "M."), Author("Tarbox", "L."), Author("Prior", "F.")),
    ),
    year=2013,
    doi="10.1007/s10278-013-9622-7",
    kind="article-journal",
    journal="Journal of Digital Imaging",
    volume="26",
    pages="1045-1057",
)
"""The paper that TCIA's data usage policy asks users to cite."""

IDC: Final = Reference(
    title="National Cancer Institute Imaging Data Commons: Toward Transparency, Reproducibility, and Scalability in "
    "Imaging Artificial Intelligence",
    authors=(
        *(Author("Fedorov", "A."), Author("Longabaugh", "W. J. R."), Author("Pot", "D."), Author("Clunie", "D. A.")),
        *(Author("Pieper", "S. D."), Author("Gibbs", "D. L."), Author("Bridge", "C."), Author("Herrmann", "M. D.")),
        *(Author("Homeyer", "A."), Author("Lewis", "R."), Author("Aerts", "H. J. W. L.")),
        *(Author("Krishnaswamy", "D."), Author("Thiriveedhi", "V. K."), Author("Ciausu", "C.")),
        *(Author("Schacherer", "D. P."), Author("Bontempi", "D."), Author("Pihl", "T."), Author("Wagner", "U.")),
        *(Author("Farahani", "K."), Author("Kim", "E."), Author("Kikinis", "R.")),
    ),
    year=2023,
    doi="10.1148/rg.230180",
    kind="article-journal",
    journal="RadioGraphics",
    volume="43",
    pages="e230180",
)
"""The paper that IDC asks users to cite; idc-index adds it to its citations, too."""


def read_reference(
    citation: str | None,
    *,
    title: str,
    doi: str | None = None,
    url: str | None = None,
    license_name: str | None = None,
) -> Reference:
    """A reference of what an archive says of a data set: its citation without markup, its title, DOI and licence."""
    text = " ".join((citation or "").split())
    whole = Reference(title=title, doi=doi or doi_in(text), url=url, license=license_name, text=text or None)
    found = _APA.match(text)
    if found is None:
        return whole
    return replace(
        whole,
        title=found["title"].strip(),
        authors=_authors(found["authors"]),
        year=int(found["year"]),
        version=found["version"],
        publisher=found["publisher"].strip(),
    )


class KnownReferences:
    """The references that archives give, by their DOI, and by the name of a Collection as a whole."""

    def __init__(self, collections: Iterable[CollectionDescription], results: Iterable[ResultDescription]) -> None:
        self._by_key: dict[str, Reference] = {}
        self.add(collections, results)

    def add(self, collections: Iterable[CollectionDescription], results: Iterable[ResultDescription]) -> None:
        """Add what was described. A reference with the archive's own words takes the place of one without."""
        for each in collections:
            title = one_line(each.collection)
            citation = each.citation or _citation_in(each.description, doi_in(each.uri))
            self._add(citation, title, each.uri, each.license_name, each.collection)
            for part in each.publications:
                self._add(part.citation, part.title or title, part.doi or part.url, part.license_name)
        for result in results:
            self._add(result.citation, result.title or result.result, result.uri, result.license_name)

    def find(self, doi: str | None, collection: str) -> Reference | None:
        """The reference of a DOI; without a DOI that of the Collection."""
        return self._by_key.get(doi if doi is not None else f"collection {collection}")

    def _add(
        self, citation: str | None, title: str, uri: str | None, license_name: str | None, collection: str | None = None
    ) -> None:
        doi = doi_in(uri) or doi_in(citation)
        known = read_reference(citation, title=title, doi=doi, url=uri, license_name=license_name)
        for key in (doi, collection and f"collection {collection}"):
            if key and (key not in self._by_key or (known.text and not self._by_key[key].text)):
                self._by_key[key] = known


def papers_of_archives(dois: Iterable[str], *, from_idc: bool) -> list[Reference]:
    """The papers on the archives that have the data with these DOIs. TCIA registers its DOIs under one prefix."""
    return [*([TCIA] if any(doi.startswith(TCIA_PREFIX) for doi in dois) else []), *([IDC] if from_idc else [])]


def _citation_in(description: str | None, doi: str | None) -> str | None:
    """The paragraph of a description that has the DOI: NBIA gives the citation at its end."""
    lines = (description or "").splitlines()
    return next((line for line in reversed(lines) if doi and doi in line.lower()), None)


def _authors(text: str) -> tuple[Author, ...]:
    """Names as APA lists them: `Clark, K., Ojeda-Fournier, H., & A Consortium`; also `Clark, Kenneth; Li, F.`."""
    if ";" in text:
        pairs = (name.partition(",") for name in text.split(";"))
        return tuple(Author(family.strip(" ."), given.strip()) for family, _, given in pairs)
    authors: list[Author] = []
    for part in filter(None, (part.strip() for part in re.sub(r",?\s*&\s+", ", ", text).split(","))):
        last = authors[-1] if authors else None
        part = part.removeprefix("… ")  # noqa: PLW2901 - APA leaves names out before the last of more than twenty
        if last and not last.given and (_INITIALS.fullmatch(part) or _is_given_name(part, last.family)):
            authors[-1] = Author(last.family, part)
        elif last and last.given and _JUNIOR.fullmatch(part):
            authors[-1] = Author(last.family, f"{last.given}, {part}")
        elif found := _WITH_INITIALS.fullmatch(part):
            authors.append(Author(found["family"], found["given"]))
        else:
            authors.append(Author(part.removesuffix(".")))
    return tuple(authors)


def _is_given_name(part: str, family: str) -> bool:
    """Whether a part is the given name of the one before it, though it has no initials: both are short."""
    family = re.sub(rf" {_JUNIOR.pattern}$", "", family)
    return " " not in family and not family.isupper() and part.count(" ") <= 1 and "(" not in part


def write_references(references: Sequence[Reference], form: CitationFormat) -> str:
    """The references in one of the formats, each once, in their order, ending with a line break."""
    unique = list({each.doi or each.sentence: each for each in references}.values())
    writer = {
        CitationFormat.TEXT: _text,
        CitationFormat.BIBTEX: _bibtex,
        CitationFormat.RIS: _ris,
        CitationFormat.CSL_JSON: _csl_json,
    }[form]
    return f"{writer(unique).strip()}\n" if unique else ("[]\n" if form is CitationFormat.CSL_JSON else "")


def _text(references: Sequence[Reference]) -> str:
    return "\n\n".join(each.sentence for each in references)


def _bibtex(references: Sequence[Reference]) -> str:
    entries = []
    for key, each in zip(_keys(references), references, strict=True):
        values = {
            "author": " and ".join(_tex_name(author) for author in each.authors),
            "title": f"{{{_tex(each.title)}}}",
            "year": str(each.year or ""),
            "journal": _tex(each.journal),
            "volume": _tex(each.volume),
            "pages": _tex(each.pages).replace("-", "--"),
            "publisher": _tex(each.publisher),
            "version": _tex(each.version),
            "doi": _tex(each.doi),
            "url": each.address or "",
            "copyright": _tex(each.license),
        }
        kind = "misc" if each.kind == "dataset" else "article"
        fields = ",\n".join(f"\t{name} = {{{value}}}" for name, value in values.items() if value)
        entries.append(f"@{kind}{{{key},\n{fields}\n}}")
    return "\n\n\n".join(entries)


def _tex(text: str | None) -> str:
    return " ".join((text or "").split()).translate(_TEX)


def _tex_name(author: Author) -> str:
    family = _tex(author.family)
    return f"{family}, {_tex(author.given)}" if author.given else f"{{{family}}}"


def _ris(references: Sequence[Reference]) -> str:
    import rispy  # noqa: PLC0415 - late: only a list of references needs it

    return str(rispy.dumps([_ris_record(each) for each in references]))


def _ris_record(each: Reference) -> dict[str, Any]:
    record = {
        "type_of_reference": "DATA" if each.kind == "dataset" else "JOUR",
        "authors": [author.text for author in each.authors],
        "title": each.title,
        "year": str(each.year or ""),
        "journal_name": each.journal,
        "volume": each.volume,
        "start_page": each.pages,
        "publisher": each.publisher,
        "edition": each.version,
        "doi": each.doi,
        "urls": list(filter(None, [each.address])),
        "notes": [f"Licence: {each.license}"] if each.license else [],
    }
    return {name: _one_line(value) for name, value in record.items() if value}


def _one_line(value: Any) -> Any:
    """RIS has one value on a line; a line break in a value would begin another."""
    return [" ".join(each.split()) for each in value] if isinstance(value, list) else " ".join(value.split())


def _csl_json(references: Sequence[Reference]) -> str:
    pairs = zip(_keys(references), references, strict=True)
    return json.dumps([_csl_item(key, each) for key, each in pairs], ensure_ascii=False, indent=2)


def _csl_item(key: str, each: Reference) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": key,
        "type": each.kind,
        "title": each.title,
        "author": [
            {"family": author.family, "given": author.given} if author.given else {"literal": author.family}
            for author in each.authors
        ],
        "issued": {"date-parts": [[each.year]]} if each.year else None,
        "container-title": each.journal,
        "volume": each.volume,
        "page": each.pages,
        "publisher": each.publisher,
        "version": each.version,
        "DOI": each.doi,
        "URL": each.address,
        "note": f"Licence: {each.license}" if each.license else None,
    }
    return {name: value for name, value in item.items() if value}


def _keys(references: Iterable[Reference]) -> list[str]:
    """The keys of references; those of different ones differ."""
    keys: dict[str, None] = {}
    for each in references:
        key, number = each.key, 2
        while key in keys:
            key, number = f"{each.key}_{number}", number + 1
        keys[key] = None
    return list(keys)
