"""`plan`: what a mirror of a selection needs. Asks the archive, downloads nothing, writes nothing."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from bulkdl.archive.base import Archive
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.archive.profiles import Profile
from bulkdl.archive.routed import parts_of, source_of
from bulkdl.fetch.lost_files import lost_names
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldFolder
from bulkdl.manifest.base import ManifestRow
from bulkdl.manifest.tcia import settings_of
from bulkdl.manifest.writing import ManifestFormat, endpoint_settings, write_rows
from bulkdl.model.access import DEFAULT_ARCHIVE, ArchiveChoice
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.options import Option
from bulkdl.model.records import Series
from bulkdl.model.reports.base import Failure, SeriesCounts
from bulkdl.model.reports.plan import PlannedCollection, PlannedLicense, PlanReport
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.resolve.resolution import Earlier, Resolution, check_found, resolve
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.files import MirrorFiles
from bulkdl.store.space import measure
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Given, Paths
from bulkdl.verbs.connections.data_commons import choose_commons
from bulkdl.verbs.connections.open_archive import FIRST_ANSWER_SECONDS, open_archive
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.manifests.files import format_of_file, save_lines
from bulkdl.verbs.manifests.rows import rows_of_series
from bulkdl.verbs.runs.agreements import missing_agreement
from bulkdl.verbs.runs.options import context_of
from bulkdl.verbs.select import Wanted, choose_selection
from bulkdl.verbs.selections.data_set_names import resolve_data_sets
from bulkdl.verbs.selections.named_instances import find_series_of_instances

if TYPE_CHECKING:
    from bulkdl.resolve.annotations import AnnotationClosure

_RUNS_MEASURED: Final = 20
_SIZES_ASKED: Final = 100

_Key: TypeAlias = tuple[str, str | None]
"""A Collection and its source."""


async def plan_async(
    selection: Wanted = None,
    *,
    to: Annotated[Paths | None, Option("to", "The mirror to compare with.", "DIR", read=Path)] = None,
    save: Annotated[
        Paths | None,
        Option("save", "Write the series to FILE: .tcia, .csv, .jsonl or .s5cmd, by its suffix.", "FILE", read=Path),
    ] = None,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
    **criteria: Given,
) -> PlanReport:
    """Say what a mirror of the selection needs, less what the mirror at `to` already has. Downloads nothing.

    A file counts as held if it lies in the mirror with its size; no file is read.
    Sizes come with the Series where the archive sends them. Else it is asked for those of the first 100, and the others
    are estimated by these; `exact` is False then. Free space is that of `to`, or of the working folder. The expected
    time follows from the earlier runs with this archive on the mirror at `to`. `save` is a manifest to write.

    Raises:
        UserError: the selection or the archive's name is invalid, or nothing was found.
        ArchiveError: the archive refused, or could not be reached.
        DiskError: the manifest cannot be written, or a folder of the mirror cannot be read.
    """
    wanted = choose_selection(selection, criteria, sink)
    form = format_of_file(save) if save is not None else None
    root = Path(to) if to is not None else None
    context = context_of({"settings": settings, "sink": sink, "stop": stop})
    choice = replace(choose_commons(wanted, choose_archive(archive), sink), supporting=wanted.with_supporting_data)
    if (agreement := missing_agreement(choice, root)) is not None:
        sink(Noted(agreement.refusal))
    async with open_archive(choice, context, first_answer_seconds=FIRST_ANSWER_SECONDS) as source:
        wanted = await resolve_data_sets(wanted, source.client, sink)
        wanted = await find_series_of_instances(wanted, source.client, sink)
        planned = _Planned(
            source.client, dict(wanted.instances), rows=[] if form not in {None, ManifestFormat.TCIA} else None
        )
        if root is None or not (root / JOURNAL).exists():
            report = await _plan(wanted, planned, root, sink)
        else:
            with Journal.open_readonly(root / JOURNAL) as planned.journal:
                planned.holdings = _Holdings(MirrorFiles(root), planned.journal)
                report = await _plan(wanted, planned, root, sink)
                expected = _seconds_expected(report, planned.journal, source.settings.profile)
                report = replace(report, seconds_expected=expected)
        if save is not None and form is not None:
            lines = write_rows(planned.manifest_rows(), form, _addresses(source.client))
            await asyncio.to_thread(save_lines, Path(save), lines)
        return report


def _addresses(client: Archive) -> dict[str, str]:
    """The settings of a manifest that say where the archive is."""
    endpoints = [endpoint_settings(part.url) for part in parts_of(client) if isinstance(part, IdcArchive)]
    address = settings_of(client.url) if client.capabilities.endpoints else {}
    return {**address, **(endpoints[0] if endpoints else {})}


async def _plan(selection: Selection, planned: _Planned, to: Path | None, sink: Sink) -> PlanReport:
    client = planned.client
    found = Resolution()
    is_listed = selection.series or selection.alternatives or selection.shard or selection.is_shortlisted
    is_listed = is_listed or selection.with_annotations or selection.with_supporting_data
    is_bare = planned.journal is None and planned.rows is None and not is_listed
    if isinstance(client, IdcArchive) and is_bare:
        await _add_totals(planned, found, selection, client)
    else:
        seen: dict[SeriesUid, None] = {}
        earlier = Earlier(planned.chosen_before(selection), planned.places_of)
        closure = _closure(selection, planned, to) if selection.with_annotations else None
        async with aclosing(resolve(selection, client, found, earlier=earlier, closure=closure)) as batches:
            async for batch in batches:
                new = {each.series_uid: each for each in batch.series if each.series_uid not in seen}
                seen |= dict.fromkeys(new)
                await planned.add(list(new.values()))
        planned.series_uids = tuple(seen)
        found.follow(closure)
    for note in found.notes():
        sink(Noted(note))
    report = planned.report(tuple(await check_found(selection, found, client)), to)
    report = replace(report, withdrawn=planned.withdrawn, sources=planned.sources)
    return replace(report, release=found.release, notes=found.notes())


def _closure(selection: Selection, planned: _Planned, to: Path | None) -> AnnotationClosure:
    from bulkdl.resolve.annotations import AnnotationClosure, read_nothing  # noqa: PLC0415 - late: most selections are without
    from bulkdl.verbs.mirrors.held_references import HeldReferences  # noqa: PLC0415 - the same

    reads = HeldReferences(to) if planned.journal is not None and to is not None else read_nothing
    return AnnotationClosure(planned.client, reads, limits=Selection(denied_licenses=selection.denied_licenses))


async def _add_totals(planned: _Planned, found: Resolution, selection: Selection, client: IdcArchive) -> None:
    """Add a million Series in a second: the index adds up what would take half a minute as records."""
    selection.check()
    totals, answer = await client.totals(selection)
    found.add(answer)
    planned.series_uids = totals.series_uids
    for total in totals.collections:
        numbers = Counter(series=total.series, instances=total.instances, size_bytes=total.size_bytes)
        planned.sums[total.collection, None] = numbers
        found.series += total.series
    for collection, license_name, series, size_bytes in totals.licensed:
        planned.add_license((collection, None), license_name, series, size_bytes)


plan = blocking(plan_async)


def _seconds_expected(report: PlanReport, journal: Journal, profile: Profile) -> float | None:
    """How long the rest takes at the speed of the mirror's latest runs with this archive; None if there was none."""
    instances = size_bytes = seconds = 0.0
    for counts in journal.counts_of_runs(profile.name, profile.url, limit=_RUNS_MEASURED):
        with suppress(KeyError, TypeError):  # of an earlier version, or of a verb that downloads nothing
            if fetched := counts["instances"]["fetched"]:
                instances += fetched
                size_bytes += counts["bytes"]["fetched"]
                seconds += counts["seconds"]
    owed = report.instances_selected - report.instances_held
    if not instances or not size_bytes:
        return 0.0 if report.exact and not owed else None
    owed_bytes = max(0, report.bytes_selected - report.bytes_held) if owed else 0
    # A run is limited by bytes or, where instances are small, by their number: the slower of the two counts.
    return round(seconds * max(owed / instances, owed_bytes / size_bytes), 1)


@dataclass(frozen=True, slots=True)
class _Holdings:
    """What a mirror holds, as the journal has it and a listing of each folder confirms it."""

    files: MirrorFiles
    journal: Journal

    def sizes(
        self, batch: Sequence[Series], wanted: Mapping[SeriesUid, Sequence[SopInstanceUid]]
    ) -> dict[SeriesUid, list[int]]:
        """The sizes in bytes of the files in place of each Series, or of its `wanted` instances alone. Blocking."""
        found = {}
        for uid in (series.series_uid for series in batch):
            if (held := self.journal.held_folder(uid)) is not None:
                lost = lost_names(held, self.files)
                if lost and self._is_moving(held):
                    held, lost = self.journal.held_folder(uid) or held, {}
                chosen = frozenset(wanted[uid]) if uid in wanted else None
                files = [(sop_uid, size) for sop_uid, name, size in held.files if name not in lost]
                found[uid] = [size for sop_uid, size in files if chosen is None or sop_uid in chosen]
        return found

    def _is_moving(self, held: HeldFolder) -> bool:
        """Whether the files of a Series are on the way to other places, or are there now."""
        is_begun = any(move.series_id == held.series_id for move in self.journal.begun_moves())
        return is_begun or self.journal.held_folder(held.series_uid) != held


@dataclass(slots=True)
class _Planned:
    """Sums of the archive's numbers, by Collection and source; a Series counts once."""

    client: Archive
    wanted: Mapping[SeriesUid, Sequence[SopInstanceUid]]
    rows: list[ManifestRow] | None  # None unless a manifest needs more than the UIDs
    journal: Journal | None = None
    holdings: _Holdings | None = None
    sums: defaultdict[_Key, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    licenses: defaultdict[str | None, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    license_names: defaultdict[_Key, set[str]] = field(default_factory=lambda: defaultdict(set))
    series_uids: tuple[str, ...] = ()
    withdrawn: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    measured: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # by modality
    asked: int = 0

    async def add(self, batch: Sequence[Series]) -> None:
        held: Mapping[SeriesUid, list[int]] = {}
        if self.holdings is not None:
            held = await asyncio.to_thread(self.holdings.sizes, batch, self.wanted)
        for series in batch:
            await self._add(series, held.get(series.series_uid, []))

    async def _add(self, series: Series, held: Sequence[int]) -> None:
        """Count a Series; `held` are the sizes of its files in the mirror, of those that are wanted."""
        count, size_bytes, is_exact = await self._size(series)
        if self.rows is not None:
            known = replace(series, image_count=count, size_bytes=size_bytes if is_exact else None)
            self.rows += rows_of_series(known, self.wanted)
        if series.series_uid in self.wanted and count:
            chosen = len(self.wanted[series.series_uid])
            size_bytes = round((size_bytes or 0) * chosen / count)
            count, is_exact = chosen, False
        self.withdrawn += series.remark is not None
        if (source := source_of(self.client, series)) is not None:
            self.sources[source] += 1
        sums = self.sums[series.collection, source]
        sums.update(series=1, instances=count or 0, size_bytes=size_bytes or 0, estimated=not is_exact)
        self.add_license((series.collection, source), series.license_name, 1, size_bytes or 0)
        most = count if count is not None else len(held)
        sums.update(held=len(held[:most]), held_bytes=sum(held[:most]), complete=bool(held) and len(held) >= most)

    async def _size(self, series: Series) -> tuple[int | None, int | None, bool]:
        """The number of instances and bytes of a Series, and whether both are the archive's.

        Where they do not come with the Series, the archive is asked for those of the first ones; the others are taken
        to be like these, so that a plan does not cost one request for each Series.
        """
        count, size_bytes = series.image_count, series.size_bytes
        is_unknown = (count is None or size_bytes is None) and series.location is None  # an index gives all it has
        if is_unknown and self.asked < _SIZES_ASKED:
            self.asked += 1
            asked = await self.client.size(series.series_uid)
            count, size_bytes = asked.image_count or count, asked.size_bytes or size_bytes
        if count is not None and size_bytes is not None:
            if is_unknown:
                self.measured[series.modality or ""].update(series=1, instances=count, size_bytes=size_bytes)
            return count, size_bytes, True
        like = self.measured.get(series.modality or "")
        if count is None and like is not None:
            count = round(like["instances"] / like["series"])
        if size_bytes is None and like is not None and like["instances"]:
            size_bytes = round((count or 0) * like["size_bytes"] / like["instances"])
        return count, size_bytes, False

    def add_license(self, key: _Key, name: str | None, series: int, size_bytes: int) -> None:
        """Count Series under a licence."""
        self.licenses[name or None].update(series=series, size_bytes=size_bytes)
        if name:
            self.license_names[key].add(name)

    def chosen_before(self, selection: Selection) -> frozenset[SeriesUid]:
        """What the mirror has chosen of the same selection already, where not all of it is chosen."""
        if self.journal is None or not selection.is_shortlisted:
            return frozenset()
        same = [row.id for row in self.journal.selections() if row.selection == selection]
        return frozenset().union(*map(self.journal.selected, same))

    async def places_of(self, uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, tuple[str, str]]:
        """Where the mirror, if there is one, has recorded these Series."""
        return self.journal.places_of(uids) if self.journal is not None else {}

    def manifest_rows(self) -> Iterable[ManifestRow]:
        """What the manifest names."""
        uids = map(SeriesUid, self.series_uids)
        return self.rows if self.rows is not None else (ManifestRow(series_uid=uid) for uid in uids)

    def report(self, failures: tuple[Failure, ...], to: Path | None) -> PlanReport:
        collections = tuple(self._collection(key) for key in sorted(self.sums, key=lambda key: (key[0], key[1] or "")))
        total = sum(self.sums.values(), Counter[str]())
        to_list = total["series"] - total["complete"]
        space = measure(to or Path())
        largest_first = sorted(self.licenses.items(), key=lambda each: (-each[1]["series"], each[0] or ""))
        return PlanReport(
            archive=self.client.url,
            mirror=str(to.resolve()) if to is not None else None,
            series=SeriesCounts(len(self.series_uids) + len(failures), total["complete"], len(failures)),
            instances_selected=total["instances"],
            instances_held=total["held"],
            bytes_selected=total["size_bytes"],
            bytes_held=total["held_bytes"],
            bytes_free=space.free_bytes,
            exact=not total["estimated"],
            requests=sum(each.owed for each in collections) + to_list,
            files_free=space.free_inodes,
            collections=collections,
            licenses=tuple(PlannedLicense(name, each["series"], each["size_bytes"]) for name, each in largest_first),
            failures=failures,
            series_uids=self.series_uids,
        )

    def _collection(self, key: _Key) -> PlannedCollection:
        sums = self.sums[key]
        return PlannedCollection(
            *key,
            series=sums["series"],
            instances=sums["instances"],
            held=sums["held"],
            owed=max(0, sums["instances"] - sums["held"]),
            size_bytes=sums["size_bytes"],
            exact=not sums["estimated"],
            licenses=tuple(sorted(self.license_names[key])),
        )
