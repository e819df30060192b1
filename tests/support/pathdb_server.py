"""A PathDB over real sockets, as small as the interface allows, with faults on demand.

It answers the cohort table, the lists of collections and slides, and files with ranges. What `fault` returns for a
request is done instead of the right answer.
"""

from __future__ import annotations

import hashlib
import io
import json as jsons
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bulkdl.archive.pathdb import COHORT_TABLE
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, derived_uid
from bulkdl.server.demo.slides import write_slide
from tests.support.dicom_files import MadeUp
from tests.support.faults import Action, FaultyServer, Seen, answer, json

PAGE = 2
HOME = "system/files/wsi/made up"
COLUMNS = (
    "collection,collection_doi,patient_id,slide_id,view,camic_id,wsiimage_url,has_radiology,has_genomics,"
    "has_proteomics,species,cancer_type,cancer_location,data_format,supporting_data_type,modality,protocol,par,"
    "magnification,update"
)


def slide_bytes(seed: int, *, width: int = 200, height: int = 150) -> bytes:
    """A small slide."""
    file = io.BytesIO()
    write_slide(file, width, height, seed=seed)
    return file.getvalue()


def made_up_slide(patient: str, slide: str, content: bytes, *, collection: str = "MADE-UP", end: str = "svs") -> MadeUp:
    """A slide with the UIDs that bulkdl makes for it; `study_uid` holds the path of its file, which has no Study."""
    path = f"{HOME}/{collection}/{slide}.{end}".replace(" ", "%20")
    series_uid = SeriesUid(derived_uid(f"pathdb:{path}"))
    sop_uid = SopInstanceUid(derived_uid(f"pathdb-file:{path}"))
    return MadeUp(collection, patient, StudyUid(path), series_uid, sop_uid, content)


def slides(count: int = 6) -> list[MadeUp]:
    """Made-up slides, two of each Patient."""
    return [made_up_slide(f"P{at // 2}", f"P{at // 2}-S{at}", slide_bytes(at)) for at in range(count)]


def slide_of(one: MadeUp) -> str:
    """The name of a slide."""
    return one.study_uid.rpartition("/")[2].partition(".")[0]


class PathDbServer:
    """Serves slides. With `has_table` there is a cohort table; `wrong_rows` are added to it."""

    def __init__(
        self,
        made_up: Sequence[MadeUp],
        fault: Callable[[Seen], Action | None] = lambda _: None,
        *,
        has_table: bool = True,
        wrong_rows: Iterable[str] = (),
    ) -> None:
        self.made_up = list(made_up)
        self.has_table = has_table
        self.wrong_rows = list(wrong_rows)
        self.updated = "2022-02-03"
        self.server = FaultyServer(lambda seen: fault(seen) or self.right(seen))

    @property
    def url(self) -> str:
        """The base address."""
        return self.server.url

    def requested(self, kind: str) -> list[Seen]:
        """The requests so far for files, without those that ask for the size; there are no bundles."""
        files = [seen for seen in self.server.requests if "/wsi/" in seen.path]
        return [seen for seen in files if seen.headers.get("range") != "bytes=0-0"] if kind == "file" else []

    def right(self, seen: Seen) -> Action:
        """The right answer."""
        path = seen.path.removeprefix("/index.php").removeprefix("/")
        if path == COHORT_TABLE:
            return answer(self.table().encode(), headers={"Content-Type": "text/csv"}) if self.has_table else gone()
        if path == "collections":
            return json(jsons.dumps([{"tid": _value(at), "name": _value(name)} for name, at in self.numbers().items()]))
        if path.startswith("listofimages/"):
            return json(jsons.dumps(self.page(int(path.rpartition("/")[2]), int(seen.query["page"]))))
        found = next((one for one in self.made_up if one.study_uid == path), None)
        return part_of(found.content, seen) if found is not None else gone()

    def numbers(self) -> dict[str, int]:
        """The numbers of the collections."""
        return {name: 101 + at for at, name in enumerate(dict.fromkeys(one.collection for one in self.made_up))}

    def table(self) -> str:
        """The cohort table."""
        rows = [
            f"{one.collection},10.7937/made.up,{one.patient_id},{slide_of(one)},View,{at},"
            f'"{self.url}index.php/{one.study_uid}",no,no,no,Human,"Adenocarcinoma, NOS",Stomach,SVS,N/A,CT,H&E,N/A,'
            f"40X,{self.updated}"
            for at, one in enumerate(self.made_up, start=5501)
        ]
        return "\n".join([COLUMNS, *rows, *self.wrong_rows, ""])

    def page(self, number: int, page: int) -> list[dict[str, Any]]:
        """A page of the slides of a collection."""
        found = [one for one in self.made_up if self.numbers()[one.collection] == number]
        return [
            {
                "studyid": _value(one.collection),
                "clinicaltrialsubjectid": _value(one.patient_id),
                "imageid": _value(slide_of(one)),
                "referencepixelphysicalvaluey": [],
                "field_wsiimage": [{"url": f"{self.url}{one.study_uid}"}],
                "changed": _value("2022-02-03T10:00:00+00:00"),
            }
            for one in found[page * PAGE : (page + 1) * PAGE]
        ]


def _value(value: object) -> list[dict[str, object]]:
    return [{"value": value}]


def gone() -> Action:
    """The page that Drupal sends for what does not exist."""
    return answer(b"<html><body>Page not found</body></html>", status=404, headers={"Content-Type": "text/html"})


def part_of(content: bytes, seen: Seen, *, tag: str = "") -> Action:
    """The content, or the range of it that the request asks for."""
    tag = tag or f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"Content-Type": "image/tiff", "ETag": tag, "Accept-Ranges": "bytes"}
    asked = seen.headers.get("range", "")
    if not asked or seen.headers.get("if-range") not in {None, tag}:
        return answer(content, headers=headers)
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last or len(content)) + 1, len(content))
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
    return answer(content[start:end], status=206, headers=headers)


@asynccontextmanager
async def pathdb_server(
    made_up: Sequence[MadeUp] | None = None, fault: Callable[[Seen], Action | None] = lambda _: None, **options: Any
) -> AsyncIterator[PathDbServer]:
    """A running `PathDbServer`, with six slides by default."""
    pathdb = PathDbServer(slides() if made_up is None else made_up, fault, **options)
    async with pathdb.server:
        yield pathdb
