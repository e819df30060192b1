"""The documents of PathDB: collections and slides as Drupal writes them, and the cohort table. Pure.

Source: tcia_utils 3.3.5 (`pathdb.py`), the columns of the table by tcia-query-skill.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bulkdl.server.pathdb.slides import ServedSlide

PAGE_SLIDES: Final = 50
_FIRST_COLLECTION: Final = 101
_FIRST_SLIDE: Final = 5501
_NONE: Final = "N/A"
_COLUMNS: Final = (
    *("collection", "collection_doi", "patient_id", "slide_id", "view", "camic_id", "wsiimage_url"),
    *("has_radiology", "has_genomics", "has_proteomics", "species", "cancer_type", "cancer_location", "data_format"),
    *("supporting_data_type", "modality", "protocol", "par", "magnification", "update"),
)


def collection_numbers(slides: Sequence[ServedSlide]) -> dict[str, int]:
    """The collections with slides, and their numbers."""
    return {name: _FIRST_COLLECTION + at for at, name in enumerate(dict.fromkeys(each.collection for each in slides))}


def collection_list(slides: Sequence[ServedSlide]) -> list[dict[str, Any]]:
    """The list of collections."""
    return [
        {"tid": _values(number), "name": _values(name), "changed": _values(_moment(_newest(slides, name)))}
        for name, number in collection_numbers(slides).items()
    ]


def slide_page(slides: Sequence[ServedSlide], number: int, page: int, origin: str) -> list[dict[str, Any]]:
    """A page, counted from 0, of the slides of the collection of that number; empty behind the last one."""
    numbers = collection_numbers(slides)
    numbered = [(at, each) for at, each in enumerate(slides, start=_FIRST_SLIDE) if numbers[each.collection] == number]
    return [_slide(at, each, number, origin) for at, each in numbered[page * PAGE_SLIDES : (page + 1) * PAGE_SLIDES]]


def _slide(at: int, slide: ServedSlide, number: int, origin: str) -> dict[str, Any]:
    size = slide.dimensions
    return {
        "nid": _values(at),
        "studyid": _values(slide.collection),
        "field_collection": [{"target_id": number}],
        "clinicaltrialsubjectid": _values(slide.patient_id),
        "imageid": _values(slide.slide_id),
        "imagedvolumeheight": _values(size.height if size is not None else 0),
        "imagedvolumewidth": _values(size.width if size is not None else 0),
        "referencepixelphysicalvaluex": [],
        "referencepixelphysicalvaluey": [],
        "field_wsiimage": [{"url": f"{origin}/{slide.key}"}],
        "created": _values(_moment(slide.modified)),
        "changed": _values(_moment(slide.modified)),
    }


def cohort_table(slides: Sequence[ServedSlide], dois: Mapping[str, str], origin: str) -> str:
    """The cohort table: all slides. `dois` are those of collections, by their names in upper case."""
    out = io.StringIO()
    table = csv.DictWriter(out, _COLUMNS, restval=_NONE, lineterminator="\n")
    table.writeheader()
    for at, slide in enumerate(slides, start=_FIRST_SLIDE):
        about = slide.about
        table.writerow(
            {
                "collection": slide.collection,
                "collection_doi": dois.get(slide.collection.upper()) or _NONE,
                "patient_id": slide.patient_id,
                "slide_id": slide.slide_id,
                "view": "View",
                "camic_id": at,
                "wsiimage_url": f"{origin}/index.php/{slide.key}",
                **dict.fromkeys(("has_genomics", "has_proteomics"), "no"),
                "has_radiology": "yes" if slide.collection.upper() in dois else "no",
                "cancer_location": (about.body_part if about is not None else None) or _NONE,
                "data_format": slide.path.suffix.removeprefix(".").upper() or _NONE,
                "modality": (about.modality if about is not None else None) or "Whole slide image",
                "protocol": (about.protocol if about is not None else None) or _NONE,
                "update": _updated(slide),
            }
        )
    return out.getvalue()


def _updated(slide: ServedSlide) -> str:
    released = slide.about.released if slide.about is not None else None
    return (released or slide.modified.date()).isoformat()


def _newest(slides: Sequence[ServedSlide], collection: str) -> datetime:
    return max(each.modified for each in slides if each.collection == collection)


def _values(value: object) -> list[dict[str, object]]:
    return [{"value": value}]


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
