"""The pages to browse and search what is served: what each shows, from the catalogue. Everything here blocks."""

from typing import Any, Final

from bulkdl.server.catalogue import SeriesDetail
from bulkdl.server.portal import facets, listings
from bulkdl.server.portal.downloads import lists_only, offers
from bulkdl.server.portal.facets import FACETS
from bulkdl.server.portal.pages import PageMissing, PageRequest, address

INSTANCES: Final = 100
_VALUES_SHOWN: Final = 8
_PATIENTS_FOUND: Final = 12


def home(request: PageRequest) -> dict[str, Any]:
    """All Collections, with their counts."""
    view = request.view
    rows, behind = listings.collection_rows(view, request.value("after"))
    note = request.supply.note if request.supply is not None else ""
    covers = listings.covers(view, only_held=request.supply is not None)
    return {
        "totals": view.totals(),
        "collections": rows,
        "covers": covers,
        "next": _next(request, behind),
        "note": note,
    }


def search(request: PageRequest) -> dict[str, Any]:
    """The Series that match facets and words, and the counts of all facets."""
    wanted = facets.parse_facets(request.query)
    after = (request.number("kind"), request.number("number"))
    counts = facets.count_facets(request.view, wanted, after[0])
    details, behind = facets.series_of_kinds(request.view, wanted, counts.kinds, after)
    following = (
        None if behind is None else address("/search", [*wanted.pairs(), ("kind", behind[0]), ("number", behind[1])])
    )
    patients: list[listings.ParentRow] = []
    if wanted.words and after == (0, 0):
        patients, _ = listings.patient_rows(request.view, contains=wanted.words, limit=_PATIENTS_FOUND)
    return {
        "search": wanted,
        "title": facets.describe(wanted),
        "counts": counts,
        "facets": [(name, title, *_divided(counts, name)) for name, title in FACETS.items()],
        "patients": patients,
        "found_uid": _of_uid(request, wanted.words),
        "lists": lists_only(),
        "next": following,
        **_series_table(request, details),
    }


def _divided(counts: facets.FacetCounts, name: str) -> tuple[list[facets.FacetValue], list[facets.FacetValue]]:
    """The values of a facet that are shown at once, and the others."""
    values = list(counts.values[name])
    shown = max(_VALUES_SHOWN, sum(one.is_chosen for one in values))
    return values[:shown], values[shown:]


def _of_uid(request: PageRequest, words: str) -> str | None:
    """The address of the page of a UID that was typed into the search."""
    if not words.replace(".", "").isdigit():
        return None
    if request.view.collection_of(words) is not None:
        return address("/series", uid=words)
    if listings.studies_of(request.view, words):
        return address("/study", uid=words)
    if (file := request.view.find_instance(words)) is not None:
        return address("/instance", series=file.series_uid, sop=file.sop_uid)
    return None


def collection(request: PageRequest) -> dict[str, Any]:
    """A Collection: what it is, how to get it, and its Patients."""
    name = request.value("name")
    rows, _ = listings.collection_rows(request.view, name=name)
    if not rows:
        raise PageMissing("There is no such collection.")
    contains = request.value("patient")
    patients, behind = listings.patient_rows(request.view, name, request.value("after"), contains)
    return {
        "collection": rows[0],
        "offers": offers(
            request, request.view.series_uids(collection=name), series=rows[0].series, images=rows[0].images
        ),
        **_terms(request, name),
        "patients": patients,
        "contains": contains,
        "next": _next(request, behind),
    }


def patient(request: PageRequest) -> dict[str, Any]:
    """A Patient with the Studies."""
    name, patient_id = request.value("collection"), request.value("id")
    found = listings.patient_of(request.view, name, patient_id)
    if found is None:
        raise PageMissing("There is no such patient.")
    number, record = found
    studies, behind = listings.study_rows(request.view, name, patient_id, request.value("after"))
    others: list[SeriesDetail] = []
    if not request.value("after"):
        others, _ = listings.series_rows(request.view, *listings.without_study(number))
    return {
        "patient": record,
        "offers": offers(request, request.view.series_uids(collection=name, patient_id=patient_id)),
        "studies": studies,
        "next": _next(request, behind),
        **_terms(request, name),
        **_series_table(request, others),
    }


def study(request: PageRequest) -> dict[str, Any]:
    """A Study with its Series."""
    found = listings.studies_of(request.view, request.uid("uid"))
    if not found:
        raise PageMissing("There is no such study.")
    condition = listings.of_studies([number for number, _ in found])
    details, behind = listings.series_rows(request.view, condition, after=request.number("after"))
    return {
        "study": found[0][1],
        "offers": offers(request, request.view.series_uids(study_uid=request.uid("uid"))),
        "next": _next(request, behind),
        **_terms(request, found[0][1]["collection"]),
        **_series_table(request, details),
    }


def series(request: PageRequest) -> dict[str, Any]:
    """A Series: its values, how to get it, and its instances."""
    series_uid = request.uid("uid")
    detail = next(request.view.details_of([series_uid]), None)
    if detail is None:
        raise PageMissing("There is no such series.")
    start = request.number("start")
    request.view.number_files(series_uid)
    files = request.view.files_from(series_uid, start, INSTANCES + 1)
    held = request.view.file_count(series_uid)
    return {
        "detail": detail,
        "about": request.view.about(detail.series.collection),
        "offers": offers(request, [series_uid], images=detail.series.image_count or 0),
        "files": files[:INSTANCES],
        "start": start,
        "held": held,
        "is_whole": request.supply is None or request.supply.is_whole(series_uid),
        "next": _next(request, start + INSTANCES if len(files) > INSTANCES else None, "start"),
        **_series_table(request, [detail]),
    }


def _terms(request: PageRequest, collection: str) -> dict[str, Any]:
    """What is known of a Collection, and the licences of its Series."""
    return {
        "about": request.view.about(collection),
        "licenses": request.view.shared_values("license_name", "license_uri", collection=collection),
    }


def _series_table(request: PageRequest, details: list[SeriesDetail]) -> dict[str, Any]:
    """What a table of Series needs: these, and which of them are in the cart."""
    numbers = listings.numbers_of(request.view, [detail.series.series_uid for detail in details]) if details else {}
    return {"details": details, "numbers": numbers, "in_cart": frozenset(request.cart)}


def _next(request: PageRequest, behind: object, name: str = "after") -> str | None:
    return None if behind is None else request.again(**{name: behind})
