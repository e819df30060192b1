"""One table of data sets: what an archive, DataCite and the Collection Manager of TCIA know of them.

Each source is asked at most once a day, an index only when its files have changed. Where a source cannot be asked, its
last answer is used, and the report says how old it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from bulkdl.archive.base import Archive
from bulkdl.archive.dicomweb.archive import DicomwebArchive
from bulkdl.archive.idc.archive import IdcArchive, local_catalogue
from bulkdl.archive.idc.index import PUBLIC, index_stamp, is_address
from bulkdl.archive.nbia.archive import NbiaArchive
from bulkdl.archive.nbia.dialects import DIALECTS
from bulkdl.archive.profiles import Profile, find_profile
from bulkdl.archive.routed import parts_of
from bulkdl.errors import ArchiveError, BulkdlError, ConfigurationError, RequestFailed, TimedOut
from bulkdl.model.access import DEMOS, IDC, ArchiveChoice, Route
from bulkdl.model.data_sets import DataSet, SourceReport, complete, join
from bulkdl.model.events import Noted, RunContext, Sink
from bulkdl.model.licenses import short_license
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.model.text import one_line, shortened
from bulkdl.runtime.tasks import running_alongside, together
from bulkdl.services.datacite import DoiRecord
from bulkdl.verbs.connections.connected_archive import ConnectedArchive
from bulkdl.verbs.connections.open_archive import open_archive
from bulkdl.verbs.connections.service_clients import (
    COLLECTION_MANAGER,
    DATACITE,
    open_collection_manager,
    open_datacite,
    service_addresses,
)
from bulkdl.verbs.data_sets.answers import KeptAnswer, keep_answer, read_answer
from bulkdl.verbs.data_sets.series_sums import collections_from

if TYPE_CHECKING:
    from bulkdl.archive.idc.catalogue import IdcCatalogue

NBIA: Final = "nbia"
"""The source that is an archive without an index, of NBIA or TCIA v3."""

QUESTIONS: Final = FetchSettings(max_attempts=2, give_up_after_seconds=0)
"""An archive that cannot be reached is given up at once: there are the last answers."""

_SECONDS: Final = 30.0
_SECONDS_BESIDE_OTHERS: Final = 10.0  # for a source without which there is a table, too
_SLOW_SECONDS: Final = 3.0
_FEW_PATIENTS: Final = 1_000  # of an archive whose Series are all asked for
_COUNTS: Final = "getCollectionValuesAndCounts"
_PATIENTS: Final = "getPatient"
_NOT_ASKED: Final = "not asked, because of --offline"
_DESCRIPTION_CHARACTERS: Final = 1_500

_Said: TypeAlias = tuple[Iterable[DataSet], str]
"""Data sets, and the release of the index that they come from, if any."""


class Asking(StrEnum):
    """Whether sources are asked: those whose last answer is old, all, or none."""

    IF_OLD = "if-old"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class _DataSource:
    """One source. `archive` is the name of the archive that it is a part of, empty for a service.

    `stamp` tells which files an index is made from, and `is_local` that nothing but these is needed. `seconds` is how
    long an answer is waited for.
    """

    name: str
    address: str
    ask: Callable[[], Awaitable[_Said]]
    archive: str = ""
    stamp: Callable[[], str] = lambda: ""
    is_local: bool = False
    seconds: float | None = _SECONDS


@dataclass(slots=True)
class _Answer:
    """What is known of the answer of a source: the last one, whether it is fresh, and why there is no other.

    `is_over`: it was asked, or may not be.
    """

    source: _DataSource
    last: KeptAnswer | None
    is_fresh: bool
    stamp: str
    error: BulkdlError | None = None
    is_over: bool = False

    @property
    def needs_client(self) -> bool:
        """Whether the archive is asked for it, or a service, and not just a file."""
        return not self.is_fresh and not (self.source.is_local and self.stamp)

    def report(self) -> SourceReport:
        last, address = self.last, self.source.address.partition("\n")[0]
        return SourceReport(
            source=self.source.name,
            address=address,
            time=last.time if last is not None else None,
            is_current=last is not None and self.error is None,
            data_sets=len(last.data_sets) if last is not None else 0,
            release=(last.release or None) if last is not None else None,
            error=one_line(str(self.error)) if self.error is not None else None,
        )


@dataclass(slots=True)
class DataSetSources:
    """The sources of one archive, opened by `open_sources`. `reports` has what each contributed to `data_sets`.

    After `slow_seconds`, the sources that have not answered are named.
    """

    choice: ArchiveChoice
    profile: Profile
    context: RunContext
    asking: Asking
    stack: AsyncExitStack
    opened: Archive | None = None
    opened_index: IdcCatalogue | None = None
    reports: tuple[SourceReport, ...] = ()
    slow_seconds: float = _SLOW_SECONDS

    @property
    def is_demo(self) -> bool:
        """Whether the archive runs in this process."""
        return self.choice.name in DEMOS

    async def archive(self) -> Archive:
        """The archive, opened on the first call."""
        if self.opened is None:
            self.opened = (await self.stack.enter_async_context(open_archive(self.choice, self.context))).client
        return self.opened

    async def catalogue(self) -> IdcCatalogue:
        """The index of the archive, opened on the first call: without a client where it is here and may be used so."""
        if self.opened_index is None:
            number, part = next(each for each in enumerate(self._parts) if each[1].kind.startswith(IDC))
            if self._is_local(part):
                self.opened_index = await local_catalogue(part)
            if self.opened_index is None:
                archive = parts_of(await self.archive())[number]
                assert isinstance(archive, IdcArchive)  # noqa: S101 - by the kind of its profile
                self.opened_index = await archive.catalogue()
        return self.opened_index

    @property
    def _parts(self) -> tuple[Profile, ...]:
        return self.profile.parts or (self.profile,)

    def _is_local(self, part: Profile) -> bool:
        """Whether the index that is here is used without asking whether there is a newer one."""
        return not self.is_demo and (self.asking is Asking.NEVER or not is_address(part.index))

    async def askable(self) -> Archive:
        """The archive as far as it may be asked: without requests, the part that has an index.

        Raises:
            ConfigurationError: no requests may be sent, and there is no index.
        """
        opened = await self.archive()
        if self.asking is not Asking.NEVER or self.is_demo:
            return opened
        for part in parts_of(opened):
            if isinstance(part, IdcArchive) and await part.has_index():
                return part
        raise self._unknown()

    def _unknown(self) -> ConfigurationError:
        return ConfigurationError(f"without requests nothing is known of {self.profile.name}: leave out --offline")

    async def data_sets(self) -> tuple[DataSet, ...]:
        """The table: the data sets of the archive and of the Collection Manager, with what each source knows.

        Raises:
            BulkdlError: the archive does not answer, and no last answer of it is kept.
        """
        sources = [*self._archive_sources(), *self._services()]
        answers = await asyncio.to_thread(lambda: [self._kept(source) for source in sources])
        if any(each.needs_client and self._may_ask(each) for each in answers):
            await self.archive()  # here, because a task must not open what outlives it
        async with running_alongside(self._tell_what_is_slow(answers)):
            await together(*(self._complete(each) for each in answers))
        self.reports = tuple(each.report() for each in answers)
        parts = [each for each in answers if each.source.archive]
        if all(each.last is None for each in parts):
            if self.asking is Asking.NEVER:
                raise self._unknown()
            raise next(each.error for each in parts if each.error is not None)
        _tell(self.reports, self.context.sink)
        said = {each.source.name: each.last.data_sets for each in answers if each.last is not None}
        known = join(*(said.get(each.source.name, ()) for each in parts), said.get(COLLECTION_MANAGER, ()))
        return complete(known, said.get(DATACITE, ()))

    def _kept(self, source: _DataSource) -> _Answer:
        """The last answer of a source. Blocking."""
        stamp = source.stamp()
        if self.is_demo:
            return _Answer(source, None, is_fresh=False, stamp=stamp)
        last = read_answer(self.choice.cache, source.name, source.address)
        is_fresh = last is not None and last.is_fresh(stamp, datetime.now(UTC)) and self.asking is not Asking.ALWAYS
        return _Answer(source, last, is_fresh, stamp)

    def _may_ask(self, answer: _Answer) -> bool:
        return self.asking is not Asking.NEVER or self.is_demo or bool(answer.stamp)

    async def _tell_what_is_slow(self, answers: Sequence[_Answer]) -> None:
        await asyncio.sleep(self.slow_seconds)
        names = [each.source.name for each in answers if each.needs_client and self._may_ask(each) and not each.is_over]
        if names:
            self.context.sink(Noted(f"waiting for {', '.join(names)}; --offline lists what is known without"))

    async def _complete(self, answer: _Answer) -> None:
        """Ask a source unless its last answer is fresh; where it fails, the last answer stays, with the error."""
        if answer.is_fresh:
            return
        try:
            if not self._may_ask(answer):
                raise ConfigurationError(_NOT_ASKED)  # noqa: TRY301 - handled like a failure
            answer.last = await self._asked(answer.source)
        except (ArchiveError, ConfigurationError) as error:
            answer.error = error
        answer.is_over = True

    async def _asked(self, source: _DataSource) -> KeptAnswer:
        """Ask a source, and keep its answer."""
        try:
            async with asyncio.timeout(source.seconds):
                data_sets, release = await source.ask()
        except TimeoutError as error:
            raise TimedOut(f"no answer within {source.seconds:.0f} s") from error
        answer = KeptAnswer(
            source=source.name,
            address=source.address,
            archive=source.archive,
            stamp=await asyncio.to_thread(source.stamp),
            release=release,
            time=datetime.now(UTC).replace(microsecond=0),
            data_sets=tuple(data_sets),
        )
        if not self.is_demo:
            await asyncio.to_thread(keep_answer, self.choice.cache, answer)
        return answer

    # --- the sources --------------------------------------------------------------------------------------------------

    def _archive_sources(self) -> list[_DataSource]:
        left_out = {Route.IDC: NBIA, Route.NBIA: IDC}.get(self.profile.route) if self.profile.parts else None
        sources = [self._part(part, number) for number, part in enumerate(self._parts)]
        return [source for source in sources if source.name != left_out]

    def _part(self, part: Profile, number: int) -> _DataSource:
        """An archive, or a part of it; the address has what else the answer depends on."""
        if part.kind.startswith(IDC):
            return _DataSource(
                name=IDC,
                address=f"{part.index or PUBLIC}\n{part.cache} {self.choice.name}",
                archive=self.choice.name,
                ask=self._ask_index,
                is_local=self._is_local(part),
                stamp=lambda: index_stamp(part.index, part.cache),
                seconds=None,
            )
        return _DataSource(
            name=NBIA if part.kind in DIALECTS else part.kind,
            address=f"{part.url}\n{part.kind} {self.choice.name} {self.choice.access.credentials.username or ''}",
            archive=self.choice.name,
            ask=lambda: self._ask_archive(number),
            seconds=_SECONDS_BESIDE_OTHERS if self.profile.parts else _SECONDS,
        )

    def _services(self) -> list[_DataSource]:
        ask = {DATACITE: self._ask_datacite, COLLECTION_MANAGER: self._ask_manager}
        addresses = service_addresses(self.profile, self.choice.profiles)
        return [
            _DataSource(name=name, address=address, ask=partial(ask[name], address), seconds=_SECONDS_BESIDE_OTHERS)
            for name, address in addresses.items()
        ]

    async def _ask_index(self) -> _Said:
        catalogue = await self.catalogue()
        from bulkdl.archive.idc.overview import data_sets_of  # noqa: PLC0415 - a thread has imported duckdb by now

        return await asyncio.to_thread(data_sets_of, catalogue), str(catalogue.release)

    async def _ask_archive(self, number: int) -> _Said:
        part = parts_of(await self.archive())[number]
        source = NBIA if isinstance(part, NbiaArchive) else self._parts[number].kind
        return await data_sets_of_archive(part, source), ""

    async def _ask_datacite(self, address: str) -> _Said:
        async with open_datacite(address, access=self.choice.access, stop=self.context.stop) as datacite:
            return map(_from_doi, await datacite.dois()), ""

    async def _ask_manager(self, address: str) -> _Said:
        async with open_collection_manager(address, access=self.choice.access, stop=self.context.stop) as manager:
            return await manager.data_sets(), ""


@asynccontextmanager
async def open_sources(
    choice: ArchiveChoice, sink: Sink, stop: asyncio.Event | None, asking: Asking
) -> AsyncIterator[DataSetSources]:
    """Open the sources of an archive until the block ends. Nothing is connected before it is needed.

    Raises:
        ConfigurationError: there is no such archive.
    """
    context = RunContext(QUESTIONS, sink, stop or asyncio.Event())
    async with AsyncExitStack() as stack:
        if choice.name in DEMOS:
            demo = await stack.enter_async_context(open_archive(choice, context))
            yield DataSetSources(choice, demo.settings.profile, context, asking, stack, demo.client)
            return
        profile = find_profile(choice.name, choice.profiles, forms=choice.forms)
        profile = profile.using(index=choice.idc_index, cache=choice.cache, route=choice.route)
        yield DataSetSources(choice, profile, context, asking, stack)


async def data_sets_of_archive(archive: Archive, source: str) -> list[DataSet]:
    """The Collections of an archive without an index: with numbers of Patients where one question gives them.

    The Series of an archive with few Patients are all asked for, and added up.
    """
    if isinstance(archive, DicomwebArchive):
        counts = await archive.patients_and_series()
        return [
            DataSet(name=name, in_archive=True, patients=patients, series=series, sources=(source,))
            for name, (patients, series) in counts.items()
        ]
    patients = await _patients(archive)
    if patients is None:
        return [DataSet(name=name, in_archive=True, sources=(source,)) for name in await archive.collections()]
    if sum(patients.values()) <= _FEW_PATIENTS:
        summed = {each.name: each for each in collections_from(await _all_series(archive), source)}
    else:
        summed = {}
    return [
        summed.get(name) or DataSet(name=name, in_archive=True, patients=count, sources=(source,))
        for name, count in patients.items()
    ]


async def _patients(archive: Archive) -> dict[str, int] | None:
    """The number of Patients of each Collection; None where the archive has no question that gives it."""
    if not isinstance(archive, NbiaArchive):
        return None
    try:
        if _COUNTS in archive.endpoints:
            rows = await ConnectedArchive(archive).ask(_COUNTS)
            return {str(row.value): row.count or 0 for row in rows if row.value}
        rows = await ConnectedArchive(archive).ask(_PATIENTS)
        return dict(sorted(Counter(str(row.collection) for row in rows if row.collection).items()))
    except RequestFailed:  # the list of names shows whether the archive itself fails
        return None


async def _all_series(archive: Archive) -> list[Series]:
    """All Series of an archive; none if one of its answers is missing, because sums would be too small."""
    found: list[Series] = []
    async with aclosing(archive.find(Selection(everything=True))) as batches:
        async for batch in batches:
            if batch.failed:
                return []
            found += batch.series
    return found


def _from_doi(record: DoiRecord) -> DataSet:
    return DataSet(
        name=record.short_name or "",
        title=record.title or None,
        doi=record.doi,
        licenses=tuple(dict.fromkeys(filter(None, (short_license(each.name, each.address) for each in record.rights)))),
        version=record.version,
        updated=record.updated,
        page=record.address,
        description=shortened(record.descriptions[0], _DESCRIPTION_CHARACTERS) if record.descriptions else None,
        sources=(DATACITE,),
    )


def _tell(reports: Iterable[SourceReport], sink: Sink) -> None:
    """Say which sources are not up to date, and how old what is used of them is.

    No note is sent for a source that may not be asked, and of which no answer is kept.
    """
    for each in reports:
        if each.error is not None and not (each.time is None and each.error == _NOT_ASKED):
            age = f"its answer of {each.time:%Y-%m-%d %H:%M} UTC is used" if each.time else "nothing of it is shown"
            sink(Noted(f"{each.source}: {age}: {each.error}"))
