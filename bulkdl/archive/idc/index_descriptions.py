"""What the index of IDC says of Collections and analysis results."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bulkdl.model.descriptions import CollectionDescription, Publication, ResultDescription
from bulkdl.model.markup import html_text

OF_COLLECTIONS: Final = (
    *("description", "species", "cancer_types", "tumor_locations", "supporting_data", "program_id", "updated"),
    *("subjects", "sources"),
)
"""The columns of `collections_index` that `collection_of` reads."""
OF_RESULTS: Final = (
    *("analysis_result_title", "source_DOI", "source_url", "description", "citation", "license_short_name"),
    *("license_url", "collections", "modalities", "updated", "subjects"),
)
"""The columns of `analysis_results_index` that `result_of` reads, behind the id."""


def collection_of(name: str, row: Sequence[Any]) -> CollectionDescription:
    """The Collection of that name, with the values of `OF_COLLECTIONS`."""
    description, species, cancers, locations, supporting, program, updated, patients, sources = row
    publications = tuple(map(_publication, sources or ()))
    first = publications[0] if publications else Publication()
    return CollectionDescription(
        collection=name,
        description=_text(description),
        citation=first.citation,
        uri=_doi_address(first.doi) or first.url,
        license_name=first.license_name,
        license_uri=first.license_uri,
        species=species,
        cancer_types=cancers,
        locations=locations,
        supporting_data=supporting,
        program=program,
        updated=updated,
        patients=patients,
        publications=publications,
    )


def result_of(row: Sequence[Any], names: Mapping[str, str]) -> ResultDescription:
    """The analysis result of a row: its id and `OF_RESULTS`. It is on the Collections of these names, by their ids."""
    result, title, doi, url, description, citation, licence, licence_url, on, modalities, updated, patients = row
    ids = [key.strip() for key in (on or "").split(",")]
    return ResultDescription(
        result=result,
        title=title,
        description=_text(description),
        citation=_text(citation),
        uri=_doi_address(doi) or url,
        license_name=licence,
        license_uri=licence_url,
        collections=tuple(names.get(key, key) for key in ids if key),
        modalities=modalities,
        updated=updated,
        patients=patients,
    )


def _publication(source: Mapping[str, Any]) -> Publication:
    licence = source.get("license") or {}
    return Publication(
        doi=source.get("source_doi"),
        title=source.get("source_title"),
        citation=_text(source.get("citation")),
        url=source.get("source_url"),
        license_name=licence.get("license_short_name"),
        license_uri=licence.get("license_url"),
    )


def _text(html: str | None) -> str | None:
    return html_text(html) or None if html else None


def _doi_address(doi: str | None) -> str | None:
    return f"https://doi.org/{doi.lower()}" if doi else None
