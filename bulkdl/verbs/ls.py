"""`ls`: the data sets that there are; of one its Patients, and where its files are; of a Patient the Series."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from bulkdl.archive.base import Archive
from bulkdl.errors import RequestFailed, SelectionError
from bulkdl.model.access import DEFAULT_ARCHIVE, IDC, ArchiveChoice
from bulkdl.model.data_sets import DataSet, ListedStudy, PatientTotal, find_data_sets, series_as_json
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.ids import is_uid
from bulkdl.model.options import Option
from bulkdl.model.records import Series
from bulkdl.model.reports.ls import LsReport
from bulkdl.model.selection import Selection
from bulkdl.model.text import did_you_mean
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.connections.data_commons import searchable
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.data_sets.known_data_sets import NBIA, Asking, DataSetSources, open_sources
from bulkdl.verbs.data_sets.series_sums import patients_from, studies_from
from bulkdl.verbs.selections.data_set_names import resolve_data_sets, written_name


async def ls_async(
    data_set: str | None = None,
    patient: str | None = None,
    *,
    search: Annotated[str | None, Option("search", "Only what has all words of TEXT.", "TEXT")] = None,
    offline: Annotated[bool, Option("offline", "Send no request: use indexes and the last answers.")] = False,
    refresh: Annotated[bool, Option("refresh", "Ask all sources, even those that were asked today.")] = False,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> LsReport:
    """List the data sets of an archive, the Patients of one, or the Studies and Series of a Patient.

    `data_set` is a Collection or an analysis result in any spelling, its DOI or its page at TCIA, a Patient, or the UID
    of a Study or Series; `patient` is a Patient of it. The table joins what the archive, DataCite and the Collection
    Manager of TCIA know. Each is asked at most once a day; where one cannot be asked, its last answer is used.

    Raises:
        UserError: there is no such archive or data set.
        ArchiveError: the archive refused, or could not be reached, and no last answer of it is kept.
    """
    asking = Asking.NEVER if offline else Asking.ALWAYS if refresh else Asking.IF_OLD
    async with open_sources(searchable(choose_archive(archive)), sink, stop, asking) as sources:
        known = await sources.data_sets()
        report = await _Listing(sources, known, sink).report(data_set, patient)
        return _searched(report, search) if search is not None else report


ls = blocking(ls_async)


class _Listing:
    """What is listed of an archive whose data sets are `known`."""

    def __init__(self, sources: DataSetSources, known: Sequence[DataSet], sink: Sink) -> None:
        self._sources = sources
        self._known = known
        self._sink = sink

    async def report(self, data_set: str | None, patient: str | None) -> LsReport:
        """The report on what the words name.

        Raises:
            SelectionError: they name nothing.
        """
        name = self._sources.choice.name
        report = LsReport(
            archive=self._sources.profile.url,
            archive_name=None if name == DEFAULT_ARCHIVE else name,
            data_sets=tuple(self._known),
            sources=self._sources.reports,
        )
        if data_set is None:
            return report
        found = find_data_sets(self._known, written_name(data_set))
        if is_uid(data_set):
            found = tuple(each for each in found if each.name == data_set)
        if patient is not None:
            selection = Selection(collections=self._names(data_set, found), patients=(patient,))
            return replace(report, data_sets=(), studies=await self._studies(selection))
        if found:
            return replace(report, data_sets=found, patients=tuple(await self._patients(found)))
        if await asyncio.to_thread(Path(data_set).exists):
            raise SelectionError(f"{data_set} is on this machine: bulkdl status shows mirrors, manifest show manifests")
        client = await self._sources.askable()
        selection = await resolve_data_sets(Selection(data_sets=(data_set,)), client, self._sink)
        if not selection.collections:
            return replace(report, data_sets=(), studies=await self._studies(selection))
        series = await self._series(client, selection)  # of Collections that the last answer does not have
        return replace(report, data_sets=(), patients=tuple(patients_from(series)))

    def _names(self, word: str, found: Iterable[DataSet]) -> tuple[str, ...]:
        """The names of those data sets that the archive has.

        Raises:
            SelectionError: it has none of them.
        """
        if names := tuple(each.name for each in found if each.in_archive):
            return names
        hint = did_you_mean(word, (each.name for each in self._known))
        raise SelectionError(f"the archive has no collection called {word!r}{hint}")

    async def _patients(self, found: Iterable[DataSet]) -> list[PatientTotal]:
        """The Patients of data sets: as the index adds them up where it has them, else from their Series."""
        held = [each for each in found if each.in_archive]
        indexed = tuple(each.name for each in held if IDC in each.sources)
        others = tuple(each.name for each in held if IDC not in each.sources)
        patients: list[PatientTotal] = []
        if indexed:
            patients += await self._indexed_patients(Selection(collections=indexed))
            if others_too := [each.name for each in held if {IDC, NBIA} <= set(each.sources)]:
                self._sink(Noted(f"the patients of {', '.join(others_too)} at IDC; NBIA may have more series of them"))
        if others:
            client = await self._sources.askable()
            patients += patients_from(await self._series(client, Selection(collections=others)))
        return patients

    async def _indexed_patients(self, selection: Selection) -> list[PatientTotal]:
        catalogue = await self._sources.catalogue()
        from bulkdl.archive.idc.overview import patients_of  # noqa: PLC0415 - a thread has imported duckdb by now

        return await asyncio.to_thread(patients_of, catalogue, selection)

    async def _studies(self, selection: Selection) -> tuple[ListedStudy, ...]:
        found = await self._series(await self._sources.askable(), selection)
        if not found:
            words = f"the collection {selection.collections[0]} has no patient {selection.patients[0]!r}"
            raise SelectionError(words if selection.collections and selection.patients else "nothing of it is found")
        return tuple(studies_from(found))

    async def _series(self, client: Archive, selection: Selection) -> list[Series]:
        """The Series of a selection. A note names what the archive did not answer.

        Raises:
            RequestFailed: nothing was found, and the archive did not answer every question.
        """
        found: list[Series] = []
        failed: list[RequestFailed] = []
        async with aclosing(client.find(selection)) as batches:
            async for batch in batches:
                found += batch.series
                failed += (error for _, error in batch.failed)
        if failed and not found:
            raise failed[0]
        for error in failed:
            self._sink(Noted(f"not all series are listed: {error}"))
        return found


def _searched(report: LsReport, text: str) -> LsReport:
    """Only what has all words of a text, of what is listed: of the Series, the Patients, or the data sets."""
    found = replace(report, search=text)
    if report.studies is not None:
        narrowed = (
            replace(study, series=tuple(each for each in study.series if _has(series_as_json(each), text, study)))
            for study in report.studies
        )
        return replace(found, studies=tuple(each for each in narrowed if each.series))
    if report.patients is not None:
        return replace(found, patients=tuple(each for each in report.patients if _has(each.as_json(), text)))
    return replace(found, data_sets=tuple(each for each in report.data_sets if each.matches(text)))


def _has(values: dict[str, Any], text: str, study: ListedStudy | None = None) -> bool:
    about = (study.date, study.description, study.study_uid) if study is not None else ()
    known = " ".join(str(value) for value in (*values.values(), *about) if value is not None).casefold()
    return all(word in known for word in text.casefold().split())
