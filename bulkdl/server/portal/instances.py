"""The page of an instance: its picture, what lies over it, and its attributes. It works without scripts."""

# ruff: noqa: S608 - SQL is made from our own names; values from outside are bound

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from bulkdl.errors import BulkdlError
from bulkdl.server.catalogue import CatalogueView, SeriesDetail, ServedFile
from bulkdl.server.catalogue.view import all_of
from bulkdl.server.context import ServerContext
from bulkdl.server.inspection import Inspection
from bulkdl.server.portal.pages import PageMissing, PageRequest
from bulkdl.server.portal.pictures import Pictures, parse_options

_CT_WINDOWS: Final = (
    ("Soft tissue", 40, 400),
    ("Lung", -600, 1500),
    ("Bone", 400, 1800),
    ("Brain", 40, 80),
    ("Liver", 60, 160),
)
_MOST_OVERLAYS: Final = 50
_MOST_TAGS: Final = 5_000
_NO_FACTS: Final = {
    "frames": 1,
    "rows": 512,
    "columns": 512,
    "windows": (),
    "is_grey": False,
    "fps": 10,
    "modality": "",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the address of the page asks for, after it was looked up."""

    detail: SeriesDetail
    sop_uids: Sequence[str]
    sop_uid: str
    overlays: Sequence[Mapping[str, str]]

    @property
    def position(self) -> int:
        """The place of the instance in its Series, from 0."""
        return self.sop_uids.index(self.sop_uid) if self.sop_uid in self.sop_uids else 0


class InstancePages:
    """Makes the pages of instances."""

    def __init__(self, context: ServerContext, pictures: Pictures) -> None:
        self._context = context
        self._pictures = pictures

    async def sop_uids(self, request: PageRequest, series_uid: str) -> Sequence[str]:
        """The SOP Instance UIDs of a Series in their order.

        Raises:
            PageMissing: there is no such Series.
            Unavailable: the archive of a cache does not list them.
        """
        do, supply = self._context.threads.do, request.supply
        if await do(request.view.collection_of, series_uid) is None:
            raise PageMissing("There is no such series.")
        listed = None
        if supply is not None and not await do(supply.is_whole, series_uid):
            listed = await supply.sop_uids(series_uid)
            async with supply.using(series_uid) if listed is None else nullcontext():
                pass
        held: Sequence[str] = [] if listed else await do(_held_uids, request.view, series_uid)
        return listed or held

    async def values(self, http: web.Request, request: PageRequest) -> dict[str, Any]:
        """What the page shows.

        Raises:
            PageMissing: there is no such instance.
            Unavailable: the archive of a cache does not send it.
        """
        series_uid = request.uid("series")
        sop_uids = await self.sop_uids(request, series_uid)
        sop_uid = request.value("sop") or next(iter(sop_uids[len(sop_uids) // 2 :]), "")
        asked = await self._context.threads.do(_look_up, request, series_uid, sop_uids, sop_uid)
        http = http.clone(rel_url=http.rel_url.update_query(sop=sop_uid))
        async with self._pictures.file_of(http) as file:
            tags, problem = await self._read(Inspection.TAGS, file)
            facts, _ = await self._read(Inspection.FACTS, file)
        facts = facts or _NO_FACTS
        shown = [tag for tag in tags or () if _contains(tag, request.value("tag"))]
        over = next((one for one in asked.overlays if one["series_uid"] == request.value("over")), None)
        return {
            **_of_position(request, asked, facts),
            "detail": asked.detail,
            "sop_uid": sop_uid,
            "facts": facts,
            "windows": _windows(facts),
            "options": parse_options(request.query),
            "overlays": asked.overlays,
            "over": over,
            "lines": await self._lines(http, over),
            "tags": shown[:_MOST_TAGS],
            "left_out": max(0, len(shown) - _MOST_TAGS),
            "problem": problem,
        }

    async def _read(self, what: Inspection, file: ServedFile, more: Any = None) -> tuple[Any, str]:
        try:
            return await self._context.inspector.read(what, file, more), ""
        except BulkdlError as error:
            return None, str(error)

    async def _lines(self, http: web.Request, over: Mapping[str, str] | None) -> Any:
        """The contours over the image, if a structure set is chosen."""
        if over is None or over["modality"] != "RTSTRUCT":
            return []
        async with self._pictures.file_of(http) as image, self._pictures.file_of(http, "over", "over_sop") as file:
            return (await self._read(Inspection.CONTOURS, file, image))[0] or []


def _held_uids(view: CatalogueView, series_uid: str) -> list[str]:
    view.number_files(series_uid)
    return [file.sop_uid for file in view.files(series_uid)]


def _look_up(request: PageRequest, series_uid: str, sop_uids: Sequence[str], sop_uid: str) -> _Asked:
    detail = next(request.view.details_of([series_uid]), None)
    if detail is None or not sop_uid:
        raise PageMissing("There is no such instance.")
    return _Asked(detail, sop_uids, sop_uid, _overlays(request.view, detail))


def _overlays(view: CatalogueView, detail: SeriesDetail) -> list[dict[str, str]]:
    """The segmentations and structure sets of the same Study, or of the Patient where Series name no Study."""
    series = detail.series
    if series.study_uid is None:
        return []
    where, values = all_of(
        [
            ("t.study IN (SELECT number FROM study WHERE study_uid = ?)", (series.study_uid,)),
            ("k.modality_key IN ('SEG', 'RTSTRUCT')", ()),
            ("t.series_uid <> ?", (series.series_uid,)),
            ("t.collection_key = ?", (series.collection.upper(),)),
        ]
    )
    rows = view.select(
        "SELECT t.series_uid, k.modality_key, t.description FROM series AS t JOIN kind AS k ON k.number = t.kind "
        f"{where} ORDER BY t.number LIMIT {_MOST_OVERLAYS}",
        values,
    )
    return [{"series_uid": uid, "modality": modality, "name": name or uid} for uid, modality, name in rows]


def _of_position(request: PageRequest, asked: _Asked, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Where the picture is in its Series, or its frame in the instance, and the addresses of its neighbours."""
    frames = facts["frames"]
    if frames > 1:
        frame = min(max(request.number("frame", frames // 2 + 1), 1), frames)
        return {
            "steps": frames,
            "step": frame,
            "frame": frame,
            "previous": request.again(sop=asked.sop_uid, frame=frame - 1) if frame > 1 else None,
            "following": request.again(sop=asked.sop_uid, frame=frame + 1) if frame < frames else None,
        }
    place, uids = asked.position, asked.sop_uids
    return {
        "steps": len(uids),
        "step": place + 1,
        "frame": None,
        "previous": request.again(sop=uids[place - 1]) if place else None,
        "following": request.again(sop=uids[place + 1]) if place + 1 < len(uids) else None,
    }


def _windows(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The windows to choose from: those of the instance, and the usual ones of CT."""
    usual = _CT_WINDOWS if facts["modality"] == "CT" else ()
    own = [(window["centre"], window["width"]) for window in facts["windows"]]
    named = [
        {"name": name, "centre": centre, "width": width} for name, centre, width in usual if (centre, width) not in own
    ]
    return [*facts["windows"], *named] if facts["is_grey"] else []


def _contains(tag: Any, text: str) -> bool:
    text = text.strip().lower()
    return not text or any(text in part.lower() for part in (tag.element, tag.name, tag.data))
