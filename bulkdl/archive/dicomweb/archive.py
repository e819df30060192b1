"""A server of DICOMweb (PS3.18) as an archive: a PACS, Orthanc, dcm4chee, a store in a cloud.

The Studies that match are searched, then the Series of each: this search every server knows, and the counts in its
answers show where a list is short, which servers do not say. Then `/metadata` of the Study or of the Series is read,
which has what a search leaves out. The key of an entry is its Study UID and its SOP Instance UID, because the address
of an instance needs both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from bulkdl.archive.base import Body, BundleForm, Capabilities, FoundSeries, Listing, Rest, SeriesQuestion
from bulkdl.archive.dicomweb.attributes import Attributes
from bulkdl.archive.dicomweb.paths import studies_path
from bulkdl.archive.dicomweb.questions import NOT_ALWAYS_STATED, answers, plan_questions, query_of
from bulkdl.archive.dicomweb.records import SERIES_FIELDS, of_study, read_series, read_study
from bulkdl.archive.dicomweb.retrieve import Retriever
from bulkdl.archive.dicomweb.search import RowSearch, SearchClient, unreadable
from bulkdl.archive.dicomweb.study_lists import StudyLists
from bulkdl.archive.http import HttpClient
from bulkdl.archive.plain_archive import PlainArchive
from bulkdl.archive.profiles import Profile
from bulkdl.errors import (
    NotFound,
    RequestFailed,
    RequestRejected,
    SelectionError,
    UnexpectedAnswer,
)
from bulkdl.model.descriptions import Descriptions
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, is_uid
from bulkdl.model.records import Entry, Series, SeriesSize, Study
from bulkdl.model.selection import Selection
from bulkdl.runtime.availability import Refusals
from bulkdl.runtime.tasks import as_iterator, pool_results, run_pool

CAPABILITIES: Final = Capabilities(bundle=BundleForm.MULTIPART, takes_key=True, takes_login=True)

_QUESTIONS_AT_ONCE: Final = 32
_MOST_KEPT: Final = 20_000  # Studies of Series, each some hundred bytes
_UNKNOWN_SEARCH: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_ACCEPTABLE}
)

_Emit: TypeAlias = Callable[[FoundSeries], Awaitable[None]]


class DicomwebArchive(PlainArchive):
    """See `base.Archive`."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.name = profile.name
        self.url = profile.url
        self.capabilities = CAPABILITIES
        self.retrier = http.retrier
        self.host = (urlsplit(profile.url).hostname or "").casefold()
        self._http = http
        self._client = SearchClient(http, profile.url)
        self._study_lists = StudyLists(self._client, self.host, http.note)
        self._retriever = Retriever(http, profile.url)
        self._studies: dict[SeriesUid, StudyUid] = {}

    @property
    def requests(self) -> int:
        """See `Archive.requests`."""
        return self._http.requests

    async def any_series(self) -> Series | None:
        """The smallest Series of the first Study that the archive has; None if it has none.

        Raises:
            RequestFailed: the archive does not answer as DICOMweb does.
        """
        async with aclosing(self.studies()) as studies:
            async for study in studies:
                series, _ = await self.series_of(study)
                return min(series, key=lambda each: each.image_count or 0, default=None)
        return None

    # --- find ---------------------------------------------------------------------------------------------------------

    async def collections(self) -> tuple[str, ...]:
        """See `Archive.collections`. All Studies are listed."""
        return tuple(await self.patients_and_series())

    async def patients_and_series(self) -> dict[str, tuple[int, int | None]]:
        """The number of Patients and of Series of each Collection, None where the archive does not count these.

        Raises:
            RequestFailed: there is no valid list of Studies.
        """
        patients: defaultdict[str, set[str]] = defaultdict(set)
        series: Counter[str] = Counter()
        uncounted: set[str] = set()
        async with aclosing(self.studies()) as studies:
            async for study in studies:
                patients[study.collection].add(study.patient_id)
                series[study.collection] += study.series_count or 0
                if study.series_count is None:
                    uncounted.add(study.collection)
        return {name: (len(ids), None if name in uncounted else series[name]) for name, ids in patients.items()}

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        """See `Archive.collections_of_doi`. There are no DOIs."""
        del doi
        return None

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """See `Archive.find`."""
        parts = [(part, plan_questions(part)) for part in selection.parts()]
        for part, batches in parts:
            finding = _Finding(self, part)
            found = pool_results(as_iterator(batches), finding.ask, workers=_QUESTIONS_AT_ONCE, name="find")
            async with aclosing(found):
                async for batch in found:
                    yield batch

    def studies(self, question: SeriesQuestion | None = None) -> AsyncGenerator[Study, None]:
        """Yield the Studies that may answer a question; without one, all. Raises as `StudyLists.list`."""
        query = query_of(question, self.host) if question is not None else ()
        return self._study_lists.list(f"the studies of {question}" if question is not None else "the studies", query)

    async def series_of(self, study: Study) -> tuple[list[Series], RequestFailed | None]:
        """The Series of a Study, and what is wrong with the list.

        Where the list has fewer than the archive counts, they are gathered from all instances of the Study.

        Raises:
            RequestFailed: there is no valid answer.
        """
        uid = study.study_uid
        search = RowSearch(
            f"the series of study {uid}",
            f"{studies_path(uid)}/series",
            (),
            SERIES_FIELDS,
            lambda row: read_series(row, study),
            lambda series: series.series_uid,
            enough=study.series_count,
        )
        listed, invalid_rows = await self._client.all(search)
        series = {each.series_uid: each for each in listed}
        if len(series) < (study.series_count or 0):
            series = {**await self._series_in_metadata(study), **series}
        if len(series) < (study.series_count or 0):
            counts = f"lists {len(series):,} series of the study and counts {study.series_count:,}"
            return list(series.values()), UnexpectedAnswer(f"the archive {counts}")
        counted_series = [await self._counted(each) for each in series.values()]
        return counted_series, unreadable(invalid_rows, search.what) if invalid_rows else None

    async def _counted(self, series: Series) -> Series:
        """The Series with its number of instances. Where the archive states none, the instances are listed.

        Nothing else of a Series changes with its content, so without a number no change of it would be found.
        """
        if series.image_count is not None:
            return series
        try:
            listed = await self.list(series)
        except RequestFailed:  # the caller that needs the list gets the error
            return series
        return replace(series, image_count=len(listed.entries) or None)

    async def _series_in_metadata(self, study: Study) -> dict[SeriesUid, Series]:
        """The Series of the instances of a Study, with their number; none where the archive does not list those."""
        found: dict[SeriesUid, Series] = {}
        instances: dict[SopInstanceUid, SeriesUid] = {}

        def take(row: Attributes) -> None:
            series, sop_uid = read_series(row, study), row.uid("SOPInstanceUID")
            if series is not None and sop_uid is not None:
                found.setdefault(series.series_uid, series)
                instances[SopInstanceUid(sop_uid)] = series.series_uid

        try:
            await self._client.metadata(
                f"the instances of study {study.study_uid}", studies_path(study.study_uid), take
            )
        except RequestFailed as error:
            self._http.note(f"study {study.study_uid} has a short list of series, and no other: {error}")
        counts = Counter(instances.values())
        return {uid: replace(series, image_count=counts[uid]) for uid, series in found.items()}

    async def named(self, uids: Sequence[SeriesUid]) -> tuple[dict[SeriesUid, Series], Descriptions]:
        """The Series with these UIDs that the archive has, with what their Studies state.

        Raises:
            RequestFailed: there is no valid answer.
        """
        found = {each.series_uid: each for each in await self._by_uid(uids)}

        async def ask_singly(uid: SeriesUid) -> None:
            found.update((each.series_uid, each) for each in await self._by_uid([uid]))

        async def ask_for_study(uid: StudyUid) -> None:
            async with aclosing(self.studies(SeriesQuestion({"study_uid": uid}))) as answer:
                async for study in answer:
                    studies[study.study_uid] = study

        missing = [uid for uid in uids if uid not in found] if len(uids) > 1 else []
        # The server may not know lists of UIDs.
        await run_pool(as_iterator(missing), ask_singly, workers=_QUESTIONS_AT_ONCE, name="find-singly")
        studies: dict[StudyUid, Study] = {}
        of_found = dict.fromkeys(each.study_uid for each in found.values() if each.study_uid is not None)
        await run_pool(as_iterator(of_found), ask_for_study, workers=_QUESTIONS_AT_ONCE, name="find-studies")

        async def complete(uid: SeriesUid) -> None:
            each = found[uid]
            known = studies.get(each.study_uid or StudyUid(""))
            found[uid] = await self._counted(each if known is None else of_study(each, known))

        await run_pool(as_iterator(list(found)), complete, workers=_QUESTIONS_AT_ONCE, name="find-counts")
        return found, Descriptions(studies=tuple(studies[uid] for uid in of_found if uid in studies))

    async def _by_uid(self, uids: Sequence[SeriesUid]) -> list[Series]:
        """The Series with these UIDs, as a search without their Study finds them."""
        what = f"series {uids[0]}" if len(uids) == 1 else f"{len(uids):,} series"
        query = (("SeriesInstanceUID", ",".join(uids)),)
        wanted = frozenset(uids)

        def read(row: Attributes) -> Series | None:
            study = read_study(row, self.host)
            return read_series(row, study) if study is not None else None

        search = RowSearch(what, "series", query, SERIES_FIELDS, read, lambda each: each.series_uid, enough=len(uids))
        try:
            found, _ = await self._client.all(search)
            if any(each.series_uid not in wanted for each in found):  # the key is ignored: it may be on a later page
                found, _ = await self._client.all(replace(search, enough=None))
        except RequestRejected as error:
            if error.status not in _UNKNOWN_SEARCH:
                raise
            found = [series for uid in uids if (series := await self._by_instances(uid, error)) is not None]
        return [each for each in found if each.series_uid in wanted]

    async def _by_instances(self, uid: SeriesUid, refusal: RequestRejected) -> Series | None:
        """A Series by a search for its instances, where the archive does not search Series without their Study."""
        search = RowSearch(
            f"series {uid}",
            "instances",
            (("SeriesInstanceUID", uid),),
            (),
            lambda row: (
                study if row.uid("SeriesInstanceUID") == uid and (study := read_study(row, self.host)) else None
            ),
            lambda study: study.study_uid,
            enough=1,
        )
        try:
            found, _ = await self._client.all(search)
        except RequestRejected as error:
            raise _needs_study(refusal) from error
        for study in found:
            listed, _ = await self.series_of(study)
            for series in listed:
                if series.series_uid == uid:
                    return series
        return None

    # --- list and open ------------------------------------------------------------------------------------------------

    async def list(self, series: Series) -> Listing:
        """See `Archive.list`. A list that is shorter than the archive's count is completed by `/metadata`."""
        uid = series.series_uid
        study_uid = series.study_uid or await self.retrier.ask(
            f"the study of series {uid}", lambda _: self._study_of(uid)
        )
        if study_uid is None:
            return Listing()
        search = RowSearch(
            f"the instances of series {uid}",
            f"{studies_path(study_uid, uid)}/instances",
            (),
            (),
            lambda row: _instance_of(uid, row),
            lambda sop_uid: sop_uid,
            enough=series.image_count,
        )
        listed, invalid_rows = await self._client.all(search)
        found = dict.fromkeys(listed)
        if len(found) < (series.image_count or 0):
            found |= await self._instances_in_metadata(study_uid, uid)
        entries = (Entry(f"{study_uid}/{sop_uid}", SopInstanceUid(sop_uid)) for sop_uid in found)
        return Listing(tuple(entries), invalid_rows)

    async def _instances_in_metadata(self, study_uid: StudyUid, series_uid: SeriesUid) -> dict[str, None]:
        found: dict[str, None] = {}

        def take(row: Attributes) -> None:
            if (sop_uid := _instance_of(series_uid, row)) is not None:
                found[sop_uid] = None

        what = f"the metadata of series {series_uid}"
        try:
            await self._client.metadata(what, studies_path(study_uid, series_uid), take)
        except RequestFailed as error:
            self._http.note(f"series {series_uid} has a short list of instances, and no other: {error}")
        return found

    async def _study_of(self, series_uid: SeriesUid) -> StudyUid | None:
        """The Study of a Series, None if the archive does not have the Series. One attempt: a caller may hold a permit.

        Raises:
            RequestRejected: the archive finds neither Series nor instances without their Study.
        """
        if (known := self._studies.get(series_uid)) is not None:
            return known
        what, query = f"the study of series {series_uid}", (("SeriesInstanceUID", series_uid),)
        try:
            rows = await self._client.first_rows(what, "series", query)
        except RequestRejected as refusal:
            if refusal.status not in _UNKNOWN_SEARCH:
                raise
            try:
                rows = await self._client.first_rows(what, "instances", (*query, ("limit", "1")))
            except RequestRejected as error:
                raise _needs_study(refusal) from error
        found = {row.uid("SeriesInstanceUID"): row.uid("StudyInstanceUID") for row in rows}.get(series_uid)
        if found is None:
            return None
        if len(self._studies) >= _MOST_KEPT:
            del self._studies[next(iter(self._studies))]
        self._studies[series_uid] = StudyUid(found)
        return self._studies[series_uid]

    async def _place_of(self, series_uid: SeriesUid, study_uid: str | None) -> str:
        found = study_uid or await self._study_of(series_uid)
        if found is None:
            raise NotFound(f"the archive does not have series {series_uid}")
        return found

    @asynccontextmanager
    async def open(self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None) -> AsyncIterator[Body]:
        """See `Archive.open`."""
        study_uid, slash, sop_uid = entry.key.rpartition("/")
        if not is_uid(sop_uid) or (slash and not is_uid(study_uid)):
            raise RequestRejected("the key of the instance is not one of DICOMweb")
        place = await self._place_of(series_uid, study_uid or None)
        async with self._retriever.instance(place, series_uid, sop_uid, rest) as body:
            yield body

    @asynccontextmanager
    async def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AsyncIterator[Body]:
        """See `Archive.open_bundle`."""
        async with self._retriever.series(await self._place_of(series_uid, study_uid), series_uid) as body:
            yield body

    # --- what is known beside them ------------------------------------------------------------------------------------

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        """See `Archive.size`. The number of instances alone is known."""
        found = next(iter(await self._by_uid([series_uid])), None)
        return SeriesSize(None, (await self._counted(found)).image_count if found is not None else None)


class _Finding:
    """Puts the questions of one selection to the archive, and emits the Series that match."""

    def __init__(self, archive: DicomwebArchive, selection: Selection) -> None:
        self._archive = archive
        self._selection = selection
        self._refusals = Refusals()

    async def ask(self, batch: Sequence[SeriesQuestion], emit: _Emit) -> None:
        """Ask the questions of one search."""
        try:
            if batch[0].series_uid is not None:
                await self._ask_for_series(batch, emit)
            else:
                await self._ask_for_studies(batch, emit)
        except RequestFailed as error:
            self._refusals.failed(error)
            await emit(FoundSeries(failed=tuple((question, error) for question in batch)))
        else:
            self._refusals.answered()

    async def _ask_for_series(self, batch: Sequence[SeriesQuestion], emit: _Emit) -> None:
        uids = [question.series_uid for question in batch if question.series_uid]
        found, descriptions = await self._archive.named(uids)
        chosen = tuple(filter(self._selection.matches, found.values()))
        absent = tuple(question for question in batch if question.series_uid not in found)
        await emit(FoundSeries(chosen, not_found=absent, descriptions=descriptions.of(chosen)))

    async def _ask_for_studies(self, batch: Sequence[SeriesQuestion], emit: _Emit) -> None:
        open_questions, has_failed = dict.fromkeys(map(str, batch)), False
        stated: Counter[str] = Counter()

        async def ask_one(study: Study) -> None:
            nonlocal has_failed
            try:
                series, error = await self._archive.series_of(study)
                self._refusals.answered()
            except RequestFailed as failure:
                self._refusals.failed(failure)
                series, error = [], failure
            for each in series:
                stated.update(name for name in NOT_ALWAYS_STATED if getattr(each, name))
                for question in batch:
                    if answers(each, question):
                        open_questions.pop(str(question), None)
            stated["series"] += len(series)
            has_failed = has_failed or error is not None
            failed = ((SeriesQuestion({"study_uid": study.study_uid}), error),) if error is not None else ()
            if (chosen := tuple(filter(self._selection.matches, series))) or failed:
                await emit(FoundSeries(chosen, failed=failed, descriptions=Descriptions(studies=(study,))))

        for is_narrow in (True, False):
            async with aclosing(self._archive.studies(batch[0] if is_narrow else None)) as studies:
                await run_pool(studies, ask_one, workers=_QUESTIONS_AT_ONCE, name="series")
            if not open_questions or "collection" not in batch[0].criteria:
                break  # else the server may compare names with case, or not know this key
        self._check_stated(stated)
        if not has_failed:
            await emit(FoundSeries(not_found=tuple(each for each in batch if str(each) in open_questions)))

    def _check_stated(self, stated: Counter[str]) -> None:
        """Raise SelectionError: the selection asks for what the archive states of none of these Series."""
        for name in self._selection.named():
            if name in NOT_ALWAYS_STATED and stated["series"] and not stated[name]:
                option = name.replace("_", "-")
                raise SelectionError(
                    f"the archive states no {name.replace('_', ' ')} in its answers: --{option} cannot be answered"
                )


def _instance_of(series_uid: str, row: Attributes) -> str | None:
    """The SOP Instance UID of a row; None if it has none, or is of another Series."""
    return row.uid("SOPInstanceUID") if row.uid("SeriesInstanceUID") in {None, series_uid} else None


def _needs_study(refusal: RequestRejected) -> RequestRejected:
    text = f"the archive finds no series without its study ({refusal}): name its --study, too"
    return RequestRejected(text, status=refusal.status)
