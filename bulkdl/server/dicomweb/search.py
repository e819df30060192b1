"""Searches (QIDO-RS), answered from the catalogue, and sent while it is read.

A search that finds nothing is answered 204 without a body, as the standard says and clients expect (dicomweb-client,
OHIF); one in a Study or a Series that does not exist finds nothing.

A cache lists the instances of what it does not hold as its archive does, or downloads the Series where it does not list
them. So their search must name a Study or a Series there.

Source: PS3.18 §10.6.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Final, NamedTuple

from aiohttp import web

from bulkdl.model.records import Study
from bulkdl.server.catalogue import SeriesDetail
from bulkdl.server.catalogue.hierarchy import Criterion, FoundInstance, FoundStudy, HierarchySearch, OneOf
from bulkdl.server.dicomweb.attributes import DataSet, DataSets, Facts, InstanceFacts, Level
from bulkdl.server.dicomweb.exchange import Answering, DicomWebRefusal, DicomWebRequest, not_acceptable, warning_headers
from bulkdl.server.dicomweb.media_types import json_type
from bulkdl.server.dicomweb.query import Search, read_search
from bulkdl.server.supply import Supply

LEVELS: Final[Mapping[str, Level]] = {
    "/studies": Level.STUDY,
    "/series": Level.SERIES,
    "/instances": Level.INSTANCE,
    "/studies/{study}/series": Level.SERIES,
    "/studies/{study}/instances": Level.INSTANCE,
    "/studies/{study}/series/{series}/instances": Level.INSTANCE,
}
"""The paths of searches, and what they find."""

_CHUNK: Final = 200  # results
_MOST_SERIES: Final = 1_000  # of a cache, whose instances are listed for one search
_MOST_NUMBERED: Final = 100  # Series whose instance numbers are read for one search
_OF_FILE: Final = frozenset({"sop_uid", "instance_number", "sop_class_uid"})
_NO_NUMBERS: Final = (
    "the instance numbers of so many files were not read yet: name a series, or search without InstanceNumber"
)
_NO_STUDY: Final = "this server is a cache of an archive: a search for instances has to name a study or a series"


class _Place(NamedTuple):
    """What results have in common: the address of the service, and how answers are made."""

    url: str
    answers: DataSets

    def of_study(self, found: FoundStudy) -> DataSet:
        url = f"{self.url}/studies/{found.study.study_uid}"
        return self.answers.of(Facts(found.patient, found.study, found), url)

    def of_series(self, detail: SeriesDetail) -> DataSet:
        return self.answers.of(Facts(detail.patient, _study_of(detail), None, detail), self._series_url(detail))

    def of_instance(self, detail: SeriesDetail, instance: InstanceFacts) -> DataSet:
        facts = Facts(detail.patient, _study_of(detail), None, detail, instance)
        return self.answers.of(facts, f"{self._series_url(detail)}/instances/{instance.sop_uid}")

    def _series_url(self, detail: SeriesDetail) -> str:
        return f"{self.url}/studies/{detail.series.study_uid}/series/{detail.series.series_uid}"


def _study_of(detail: SeriesDetail) -> Study:
    assert detail.study is not None  # noqa: S101 - Series without one are not found
    return detail.study


def answer_search(level: Level) -> Answering:
    """The function that answers searches at this level."""

    async def answer(request: DicomWebRequest) -> web.StreamResponse:
        media = json_type(request.accepted)
        if media is None:
            raise not_acceptable("searches are answered as application/dicom+json")
        names = {"study": "study_uid", "series": "series_uid"}
        path = {names[name]: uid for name, uid in request.http.match_info.items()}
        search = read_search(level, path, request.http.query.items())
        headers = {"Content-Type": media, **warning_headers(search.warnings)}
        results = await _results(request, search)
        chunks = _chunks(results)
        first = await request.context.threads.do(next, chunks, None)
        if first is None:
            return web.Response(status=HTTPStatus.NO_CONTENT, headers=warning_headers(search.warnings))
        return await request.context.threads.stream(request.http, headers, chunks, first)

    return answer


async def _results(request: DicomWebRequest, search: Search) -> Iterator[DataSet]:
    """The results, which are read while they are used, except those of a cache that are not here."""
    found = HierarchySearch(request.view, search.criteria)
    place = _Place(request.url, DataSets(search.level, search.fields))
    skip, limit = search.offset, search.limit
    if search.finds_nothing or limit == 0:
        return iter(())
    if search.level is Level.STUDY:
        return map(place.of_study, found.studies(skip=skip, limit=limit))
    if search.level is Level.SERIES:
        return map(place.of_series, found.series(skip=skip, limit=limit))
    if request.context.supply is not None:
        listed = [one async for one in _listed(request, request.context.supply, search)]
        wanted = islice(listed, skip, None if limit is None else skip + limit)
        return (place.of_instance(detail, instance) for detail, instance in wanted)
    await request.context.threads.do(_number_files, request, search)
    return _held(request, place, found.instances(skip=skip, limit=limit))


def _held(request: DicomWebRequest, place: _Place, found: Iterator[FoundInstance]) -> Iterator[DataSet]:
    """Instances with a file; the Series of each is read once for all of its instances that follow each other."""
    detail: SeriesDetail | None = None
    for one in found:
        if detail is None or detail.series.series_uid != one.series_uid:
            detail = next(request.view.details_of([one.series_uid]), None)
        if detail is not None:
            yield place.of_instance(detail, _of_file(one))


def _of_file(one: FoundInstance) -> InstanceFacts:
    return InstanceFacts(
        sop_uid=one.sop_uid,
        instance_number=one.instance_number,
        sop_class_uid=one.sop_class_uid,
        transfer_syntax_uid=one.transfer_syntax_uid,
        availability="ONLINE",
    )


def _number_files(request: DicomWebRequest, search: Search) -> None:
    """Read the instance numbers of few Series: those of mirrors are known only after this.

    Raises:
        DicomWebRefusal: the search is for a number, and not all are known.
    """
    if any(name in {"study_uid", "series_uid"} for name, _ in search.criteria):
        of_series = [pair for pair in search.criteria if pair[0] not in _OF_FILE]
        for detail in HierarchySearch(request.view, of_series).series(limit=_MOST_NUMBERED):
            request.view.number_files(detail.series.series_uid)
    _require_numbers(request, search.criteria)


def _require_numbers(request: DicomWebRequest, criteria: Sequence[tuple[str, Criterion]]) -> None:
    """Refuse a search for an instance number where not all are known: it would find too little."""
    is_for_number = any(name == "instance_number" for name, _ in criteria)
    if is_for_number and HierarchySearch(request.view, criteria).lacks_numbers():
        raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, _NO_NUMBERS)


async def _listed(
    request: DicomWebRequest, supply: Supply, search: Search
) -> AsyncIterator[tuple[SeriesDetail, InstanceFacts]]:
    """The instances of a cache, by Series as the archive lists them, or as they are here."""
    do = request.context.threads.do
    of_series = [pair for pair in search.criteria if pair[0] not in _OF_FILE]
    if not any(name in {"study_uid", "series_uid"} for name, _ in of_series):
        raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, _NO_STUDY)
    found = HierarchySearch(request.view, of_series).series(limit=_MOST_SERIES + 1)
    details: list[SeriesDetail] = await do(list, found)
    if len(details) > _MOST_SERIES:
        raise DicomWebRefusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"these are more than {_MOST_SERIES} series")
    of_instances = [pair for pair in search.criteria if pair[0] in _OF_FILE]
    for detail in details:
        uid = detail.series.series_uid
        can_be_listed = all(name == "sop_uid" for name, _ in of_instances)
        sop_uids = await supply.sop_uids(uid) if can_be_listed else None
        if sop_uids is not None:
            for sop_uid in sorted(sop_uids):
                if all(isinstance(one, OneOf) and sop_uid in one.values for _, one in of_instances):
                    yield detail, _of_archive(detail, sop_uid)
            continue
        async with supply.using(uid):
            await do(request.view.number_files, uid)
            criteria = [("series_uid", OneOf((uid,))), *of_instances]
            await do(_require_numbers, request, criteria)
            instances: list[FoundInstance] = await do(list, HierarchySearch(request.view, criteria).instances())
            for one in instances:
                yield detail, _of_file(one)


def _of_archive(detail: SeriesDetail, sop_uid: str) -> InstanceFacts:
    return InstanceFacts(sop_uid=sop_uid, sop_class_uid=detail.sop_class_uid, availability="NEARLINE")


def _chunks(results: Iterator[DataSet]) -> Iterator[bytes]:
    """An array of results in pieces; nothing at all, not even an empty array, if there are none."""
    opening = "["
    while some := [json.dumps(one, ensure_ascii=False) for one in islice(results, _CHUNK)]:
        yield (opening + ",\n".join(some)).encode(errors="replace")
        opening = ",\n"
    if opening != "[":
        yield b"]\n"
