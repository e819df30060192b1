"""`report`: one page of HTML on what a mirror holds, how complete its Series are, and how its runs went.

It reads the journal and, unless it is quick, the header of each held file, in processes. It takes no lock.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from bulkdl._version import __version__
from bulkdl.dicom.completeness import Finding, FindingKind, find_gaps
from bulkdl.dicom.image_facts import SeriesFacts
from bulkdl.dicom.tags import uid_names
from bulkdl.errors import Interrupted
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import SeriesRow
from bulkdl.journal.thread import JournalThread, open_journal_thread
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.options import Option
from bulkdl.model.records import InstanceKey
from bulkdl.model.reports.mirror_report import Group, MirrorReport, SeriesFinding
from bulkdl.model.text import storable
from bulkdl.pages.mirror_report import can_plot, render_mirror_report
from bulkdl.runtime.disk import JOURNAL
from bulkdl.runtime.new_files import new_text_file
from bulkdl.runtime.processes import READER_DIED, AnsweringProcesses
from bulkdl.runtime.tasks import run_pool
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.status import read_log, read_status

_PROGRAM: Final = "bulkdl.verbs.report_main"
_PAGE: Final = 500
_FILES_AT_ONCE: Final = 500  # that a process reads for one question
_REFERENCES_NAMED: Final = 3
_UNKNOWN: Final = "(not said)"


async def report_async(
    mirror: Paths,
    *,
    to: Paths,
    quick: Annotated[bool, Option("quick", "Read no file, and report nothing on completeness.")] = False,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> MirrorReport:
    """Write the report of a mirror to the file `to`, and return what it says.

    With `quick` the files are not opened, and the completeness of Series is not known. Without pygal
    (`bulkdl[report]`) the page has no plots, which is announced.

    Raises:
        JournalError: there is no mirror, or its journal cannot be read.
        MirrorUnwritable: the file cannot be written.
        Interrupted: `stop` was set before the headers were read.
    """
    root, page = Path(mirror), Path(to)
    require_mirror(root)
    with new_text_file(page) as file:  # at once: that it cannot be written shows before many headers are read
        gathered = await asyncio.to_thread(_gather, root)
        by_series = {} if quick else await _Completeness(root, sink, stop or asyncio.Event()).read()
        found = await asyncio.to_thread(_report, root, page, gathered, by_series)
        if not await asyncio.to_thread(can_plot):
            sink(Noted("the page has no plots, which need pygal: pip install 'bulkdl[report]'"))
        await asyncio.to_thread(lambda: file.write(render_mirror_report(found)))
    return found


report = blocking(report_async)


@dataclass(slots=True)
class _Gathered:
    """The sums of the journal by the values of one attribute, and Series that are not held whole."""

    sums: dict[str, defaultdict[str, Counter[str]]] = field(default_factory=dict)
    findings: list[SeriesFinding] = field(default_factory=list)

    def add(self, name: str, value: str | None, *, series: int, instances: int, size: int) -> None:
        sums = self.sums.setdefault(name, defaultdict(Counter))
        sums[value or _UNKNOWN].update(series=series, instances=instances, bytes=size)

    def groups(self) -> dict[str, tuple[Group, ...]]:
        return {
            name: tuple(
                Group(value, sums["series"], sums["instances"], sums["bytes"])
                for value, sums in sorted(values.items(), key=lambda item: (-item[1]["bytes"], item[0]))
            )
            for name, values in self.sums.items()
        }


def _gather(root: Path) -> _Gathered:
    gathered, names = _Gathered(), uid_names("Transfer Syntax")
    with Journal.open_readonly(require_mirror(root)) as journal:
        for row in journal.all_series():
            _add_series(gathered, row)
            syntaxes: Counter[str] = Counter()
            sizes: Counter[str] = Counter()
            for instance in journal.instance_table(row.series.series_uid):
                if instance["state"] == "held":
                    uid = instance["transfer_syntax_uid"] or ""
                    syntaxes[uid] += 1
                    sizes[uid] += instance["size_bytes"] or 0
            for uid, count in syntaxes.items():
                gathered.add("transfer_syntax", names.get(uid, uid), series=1, instances=count, size=sizes[uid])
    return gathered


def _add_series(gathered: _Gathered, row: SeriesRow) -> None:
    if row.is_withdrawn:
        return
    series = row.series
    values = {
        "collection": series.collection,
        "source": "idc" if series.is_of_idc else row.archive_name,
        "modality": series.modality,
        "manufacturer": series.manufacturer,
        "license": series.license_name,
        "year": str(series.study_date.year) if series.study_date else None,
    }
    for name, value in values.items():
        gathered.add(name, value, series=1, instances=row.held, size=row.held_bytes)
    if missing := row.owed + row.failed + row.quarantined:
        of = missing + row.held
        gathered.findings.append(_finding(row, Finding(FindingKind.NOT_HELD, f"{missing:,} of {of:,} instances")))
    elif row.error is not None:
        gathered.findings.append(_finding(row, Finding(FindingKind.NOT_HELD, row.message or row.error)))


def _finding(row: SeriesRow, finding: Finding) -> SeriesFinding:
    series = row.series
    names = (series.series_uid, series.collection, series.patient_id, series.modality or "")
    return SeriesFinding(*names, finding.kind.value, finding.text)


class _Completeness:
    """The findings of all Series from the headers of their files."""

    def __init__(self, root: Path, sink: Sink, stop: asyncio.Event) -> None:
        self._root, self._sink, self._stop = root, sink, stop
        self._findings: dict[int, list[SeriesFinding]] = {}

    async def read(self) -> dict[int, list[SeriesFinding]]:
        """What the Series that were read lack, by their ids."""
        async with (
            open_journal_thread(self._root / JOURNAL, Journal.open_readonly) as journal,
            AnsweringProcesses(_PROGRAM) as processes,
        ):

            async def read_series(row: SeriesRow) -> None:
                held = await journal(Journal.held_of_series, row.series.series_uid)
                facts = await _facts(processes, [str(self._root / one.path) for one in held])
                self._findings[row.id] = await journal(_findings_of, row, facts, self._root)

            await run_pool(self._rows(journal), read_series, workers=processes.at_once, name="report")
        if self._stop.is_set():
            raise Interrupted("a report that was interrupted is not written")
        return self._findings

    async def _rows(self, journal: JournalThread) -> AsyncIterator[SeriesRow]:
        after = 0
        while page := await journal(Journal.series, after=after, limit=_PAGE):
            for row in page:
                if self._stop.is_set():
                    return
                if row.held and row.series.kind is None:
                    yield row
            after = page[-1].id
            if len(page) == _PAGE:
                self._sink(Noted(f"the headers of {len(self._findings):,} series are read"))


async def _facts(processes: AnsweringProcesses, paths: Sequence[str]) -> SeriesFacts:
    """The facts of the files of a Series."""
    parts: list[SeriesFacts] = []
    for at in range(0, len(paths), _FILES_AT_ONCE):
        for files, answer in await processes.ask_about(paths[at : at + _FILES_AT_ONCE], lambda some: some):
            parts.append(answer or SeriesFacts(unreadable=((files[0], READER_DIED),)))
    return SeriesFacts(
        tuple(image for part in parts for image in part.images),
        tuple(failed for part in parts for failed in part.unreadable),
    )


def _findings_of(journal: Journal, row: SeriesRow, facts: SeriesFacts, root: Path) -> list[SeriesFinding]:
    found = find_gaps(facts.images)
    for path, reason in facts.unreadable:
        found.append(Finding(FindingKind.NOT_READABLE, f"{Path(path).relative_to(root)}: {reason}"))
    references = {reference for image in facts.images for reference in image.references if reference[0]}
    found += _dangling(journal, references)
    return [_finding(row, finding) for finding in found]


def _dangling(journal: Journal, references: set[tuple[str, str]]) -> Iterator[Finding]:
    """One finding for each Series of which the mirror lacks instances that are referred to."""
    by_series: defaultdict[str, list[str]] = defaultdict(list)
    for series_uid, sop_uid in sorted(references):
        if journal.find_held(InstanceKey(SeriesUid(series_uid), SopInstanceUid(sop_uid))) is None:
            by_series[series_uid].append(sop_uid)
    for series_uid, missing in by_series.items():
        shown = ", ".join(missing[:_REFERENCES_NAMED])
        more = f" and {len(missing) - _REFERENCES_NAMED} more" if len(missing) > _REFERENCES_NAMED else ""
        text = f"refers to {len(missing):,} instances of series {series_uid} that are not held: {shown}{more}"
        yield Finding(FindingKind.DANGLING_REFERENCE, text)


def _report(root: Path, page: Path, gathered: _Gathered, by_series: Mapping[int, list[SeriesFinding]]) -> MirrorReport:
    read = (finding for _, found in sorted(by_series.items()) for finding in found)
    return MirrorReport(
        mirror=storable(str(root.resolve())),
        page=storable(str(page)),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        status=read_status(root),
        groups=gathered.groups(),
        runs=read_log(root).runs,
        findings=(*gathered.findings, *read),
        series_read=len(by_series),
    )
