"""`cite`: the references, licences and a data-availability paragraph for what a mirror holds, or for a selection.

A mirror is cited from its journal alone, without a request. For a selection the archive is asked for its Series, and
once for each Collection.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final

from bulkdl._version import __version__
from bulkdl.archive.base import Archive
from bulkdl.errors import ArchiveError, SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.model.access import CLIENTS, DEFAULT_ARCHIVE, ArchiveChoice
from bulkdl.model.descriptions import Descriptions
from bulkdl.model.dois import doi_in
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.formatting import counted
from bulkdl.model.options import Option
from bulkdl.model.quantities import human_bytes
from bulkdl.model.records import Series, SeriesKind
from bulkdl.model.reports.cite import CitedDataSet, CiteReport
from bulkdl.model.reports.log import RunSummary
from bulkdl.resolve.resolution import Resolution, check_found, resolve
from bulkdl.services.citations import (
    CitationFormat,
    KnownReferences,
    Reference,
    papers_of_archives,
    write_references,
)
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Given
from bulkdl.verbs.connections.data_commons import choose_commons
from bulkdl.verbs.connections.open_archive import FIRST_ANSWER_SECONDS, open_archive
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.manifest_lock import digest_of_mirror, mirror_to_lock
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.runs.options import context_of
from bulkdl.verbs.select import Wanted, choose_selection
from bulkdl.verbs.selections.data_set_names import resolve_data_sets

_PLAIN_WORDS: Final = {SeriesKind.SLIDE: "slide", SeriesKind.FILES: "supporting file"}
_WITHOUT_DOWNLOADS: Final = frozenset({"merge", "relayout", "prune", "push"})
_NO_LICENSE: Final = "the archive names no licence"


async def cite_async(
    selection: Wanted,
    *,
    format: Annotated[str, Option("format", "The form of the references.", read=CitationFormat)] = CitationFormat.TEXT,  # noqa: A002
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
    **criteria: Given,
) -> CiteReport:
    """Cite what the mirror in the folder `selection` holds, or else what the selection finds in the archive.

    Each Collection and each analysis result is cited once, and the papers of TCIA and of the Imaging Data Commons where
    the data is theirs. Data for which the archive gives no citation is cited by its name and DOI; a note says so.

    Raises:
        UserError: the selection or the archive's name is invalid, or nothing was found.
        JournalError: the journal of the mirror cannot be read.
        ArchiveError: the archive refused, or could not be reached.
    """
    form = CitationFormat(format)
    if (root := mirror_to_lock(selection)) is not None:
        if criteria:
            raise SelectionError(f"the mirror {root} is cited as a whole: leave out the criteria")
        return await asyncio.to_thread(_cite_mirror, root, form)
    wanted = choose_selection(selection, criteria, sink)
    context = context_of({"sink": sink, "stop": stop})
    choice = choose_commons(wanted, choose_archive(archive), sink)
    async with open_archive(choice, context, first_answer_seconds=FIRST_ANSWER_SECONDS) as source:
        wanted = await resolve_data_sets(wanted, source.client, sink)
        found, cited = Resolution(), _Cited(str(source.settings.profile.name), "")
        async with aclosing(resolve(wanted, source.client, found)) as batches:
            async for batch in batches:
                for series in batch.series:
                    cited.add(series, series.image_count or 0, series.size_bytes or 0)
        await check_found(wanted, found, source.client)
        if found.failed:
            raise found.failed[0][1]
        await _describe(cited, source.client, sink)
        return replace(cited, release=found.release).report(form)


cite = blocking(cite_async)


def _cite_mirror(root: Path, form: CitationFormat) -> CiteReport:
    with Journal.open_readonly(require_mirror(root)) as journal, journal.snapshot():
        dates, archives = _dates_of_downloads(journal.runs()), set[str]()
        cited = _Cited(archive="", mirror=str(root), release=journal.last_catalogue(), dates=dates)
        for row in journal.all_series():
            if row.held:
                cited.add(row.series, row.held, row.held_bytes)
                archives.add(row.archive_name)
        cited.archive = " and ".join(name for name, _ in journal.archives() if name in archives)
        if not cited.sums:
            raise SelectionError(f"{root} holds nothing that could be cited")
        cited.known.add(journal.collection_descriptions(), journal.result_descriptions())
        return replace(cited, digest=digest_of_mirror(journal)).report(form)


def _dates_of_downloads(runs: Sequence[RunSummary]) -> tuple[str, str] | None:
    """The first and the last day of the runs that brought files. Of a run that did not end it is not known."""
    brought = [run for run in runs if _brings(run)] or runs
    days = [moment[:10] for run in brought for moment in (run.started, run.ended) if moment is not None]
    return (min(days), max(days)) if days else None


def _brings(run: RunSummary) -> bool:
    counts = [run.instances[kind] for kind in ("fetched", "adopted") if kind in run.instances]
    return run.verb not in _WITHOUT_DOWNLOADS and (any(counts) or not counts)


async def _describe(cited: _Cited, client: Archive, sink: Sink) -> None:
    async def take(found: Descriptions) -> None:
        cited.known.add(found.collections, found.results)

    for collection in sorted(cited.collections()):
        try:
            await client.describe(collection, take)
        except ArchiveError as error:
            sink(Noted(f"the archive does not say how {collection} is cited: {error}"))


@dataclass(slots=True)
class _Cited:
    """What is cited: sums by DOI, or by Collection where a Series has none, and what archives say of each DOI."""

    archive: str
    mirror: str
    release: str | None = None
    dates: tuple[str, str] | None = None
    digest: str | None = None
    sums: dict[str, _CitedSums] = field(default_factory=dict)
    known: KnownReferences = field(default_factory=lambda: KnownReferences((), ()))

    def add(self, series: Series, instances: int, size_bytes: int) -> None:
        doi = doi_in(series.collection_uri)
        sums = self.sums.setdefault(doi or series.collection, _CitedSums(doi))
        sums.series += 1
        sums.instances += instances
        sums.size_bytes += size_bytes
        sums.patients.add((series.collection, series.patient_id))
        sums.collections[series.collection] += 1
        sums.licenses[series.license_name or ""] += 1
        sums.is_derived |= bool(series.third_party)
        if series.kind is not None:
            sums.plain[series.kind] += instances
            sums.plain_series += 1
        sums.from_idc |= series.is_of_idc

    def collections(self) -> set[str]:
        return {name for sums in self.sums.values() for name in sums.collections}

    def report(self, form: CitationFormat) -> CiteReport:
        cited = sorted(self.sums.items(), key=lambda item: (item[1].is_derived, min(item[1].collections), item[0]))
        references = [self._reference(sums) for _, sums in cited]
        data_sets = tuple(sums.data_set(reference) for (_, sums), reference in zip(cited, references, strict=True))
        dois = [sums.doi for sums in self.sums.values() if sums.doi is not None]
        references += papers_of_archives(dois, from_idc=any(sums.from_idc for sums in self.sums.values()))
        return CiteReport(
            mirror=self.mirror or None,
            archive=self.archive,
            format=form.value,
            text=write_references(references, form),
            paragraph=self._paragraph(data_sets),
            data_sets=data_sets,
            references=tuple(json.loads(write_references(references, CitationFormat.CSL_JSON))),
            lock_sha256=self.digest,
        )

    def _reference(self, sums: _CitedSums) -> Reference:
        name = ", ".join(sorted(sums.collections))
        known = self.known.find(sums.doi, name) or Reference(title=name, doi=sums.doi)
        return replace(known, license=known.license or ", ".join(sorted(filter(None, sums.licenses))) or None)

    def _paragraph(self, data_sets: Iterable[CitedDataSet]) -> str:
        """What a journal's section on the availability of data asks for."""
        sets, total = list(data_sets), Counter[str]()
        for one in sets:
            total.update(series=one.series, instances=one.instances, size_bytes=one.size_bytes)
        patients = len({patient for sums in self.sums.values() for patient in sums.patients})
        verb = "were downloaded" if self.mirror else "are available"
        if self.mirror and CLIENTS in self.archive:
            verb = "were received"
        first, last = self.dates or ("", "")
        when = f" on {first}" if first == last else f" between {first} and {last}"
        release = f" ({self.release})" if self.release else ""
        parts = "; ".join(_part(one) for one in sets)
        lock = f" The SHA-256 of the lock file of these instances is {self.digest}." if self.digest else ""
        held = _amount(total["instances"], total["series"], self.sums.values())
        amount = f"{held} of {counted(patients, 'patient')}"
        size = f" ({human_bytes(total['size_bytes'])})" if total["size_bytes"] else ""
        source = f"{self.archive}{release}{when if first else ''} with bulkdl {__version__}"
        return f"{amount}{size} {verb} from {source}: {parts}.{lock}"


def _amount(instances: int, series: int, every: Iterable[_CitedSums]) -> str:
    """How many instances, slides and other files there are."""
    plain, plain_series = Counter[SeriesKind](), 0
    for sums in every:
        plain.update(sums.plain)
        plain_series += sums.plain_series
    images = instances - plain.total()
    parts = [f"{images:,} DICOM instances in {series - plain_series:,} series"] if images or not plain else []
    parts += [counted(plain[kind], word) for kind, word in _PLAIN_WORDS.items() if plain[kind]]
    return " and ".join((", ".join(parts[:-1]), parts[-1])) if len(parts) > 1 else parts[0]


@dataclass(slots=True)
class _CitedSums:
    """The sums of the Series with one DOI."""

    doi: str | None
    series: int = 0
    instances: int = 0
    plain: Counter[SeriesKind] = field(default_factory=Counter)  # files that are not DICOM
    plain_series: int = 0
    size_bytes: int = 0
    is_derived: bool = False
    from_idc: bool = False
    patients: set[tuple[str, str]] = field(default_factory=set)
    collections: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)

    def data_set(self, reference: Reference) -> CitedDataSet:
        return CitedDataSet(
            doi=reference.doi,
            title=reference.title,
            collections=tuple(sorted(self.collections)),
            is_analysis_result=self.is_derived,
            series=self.series,
            instances=self.instances,
            size_bytes=self.size_bytes,
            licenses=tuple(sorted(filter(None, self.licenses))) or tuple(filter(None, [reference.license])),
            is_cited_by_archive=bool(reference.text),
        )


def _part(one: CitedDataSet) -> str:
    """One data set in the paragraph: `RIDER-Lung-CT (46 series; https://doi.org/…; CC BY 3.0)`."""
    names = one.title if one.is_analysis_result else ", ".join(one.collections)
    address = f"https://doi.org/{one.doi}" if one.doi else None
    facts = (f"{one.series:,} series", address, ", ".join(one.licenses) or _NO_LICENSE)
    return f"{names} ({'; '.join(filter(None, facts))})"
