"""The report of `mirror`, `resume`, `sync` and repairs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bulkdl.model.formatting import command, counted, duration
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import Failure, InstanceCounts, Report, RunOutcome, SeriesCounts, documents, given
from bulkdl.model.reports.collections import CollectionStatus, collection_table
from bulkdl.model.reports.phrases import (
    ABSENT,
    MOST_SHOWN,
    UNANSWERED,
    failure_lines,
    interrupted,
    not_decoded_lines,
    series_text,
    source_lines,
    sync_again,
    way_on,
)
from bulkdl.model.text import one_line


@dataclass(slots=True)
class Changes:
    """What `sync` found at the archive since the last run of each selection, and did in the mirror.

    `replaced_instances` have other bytes now, and `withdrawn_instances` are not there any more; `removed_files` were
    removed because of that, by `--prune`.
    """

    new_series: int = 0
    changed_series: int = 0
    withdrawn_series: int = 0
    replaced_instances: int = 0
    withdrawn_instances: int = 0
    removed_files: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport(Report):
    """The report of `mirror`, `resume`, `sync` and repairs. Bytes are those of files; `seconds` is wall-clock time.

    `changes` is there after `sync`. `notes` say what differs from a manifest, and which of its UIDs are Studies.
    `sources` has the numbers of Series from `idc` and from `nbia`, where an archive routes between them; `withdrawn`
    counts those that only an earlier release of the archive has. `peak_bytes_per_second` is the highest rate of ten
    seconds; `bytes_free` is what the disk has left.
    """

    mirror: str
    archive: str
    run: int
    outcome: RunOutcome
    series: SeriesCounts
    instances: InstanceCounts
    bytes_fetched: int
    bytes_mirror: int
    requests: int
    retries: int
    seconds: float
    failures: tuple[Failure, ...] = ()
    failures_left_out: int = 0
    changes: Changes | None = None
    notes: tuple[str, ...] = ()
    sources: Mapping[str, int] = field(default_factory=dict)
    withdrawn: int = 0
    collections: tuple[CollectionStatus, ...] = ()
    peak_bytes_per_second: int = 0
    bytes_free: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The document of `mirror --json`."""
        return {
            **self._values("mirror", "archive", "run", "outcome"),
            "series": asdict(self.series),
            "instances": asdict(self.instances),
            "bytes": self._values("fetched", "mirror", of="bytes_"),
            **given(changes=self.changes and asdict(self.changes)),
            **self._values("requests", "retries"),
            "seconds": round(self.seconds, 3),
            "failures": documents(self.failures),
            **given(sources=dict(self.sources), withdrawn=self.withdrawn),
            **given(failures_left_out=self.failures_left_out, notes=list(self.notes)),
            **given(peak_bytes_per_second=self.peak_bytes_per_second, bytes_free=self.bytes_free),
            **given(collections=documents(self.collections)),
        }

    def as_text(self, width: int | None = None) -> str:
        of = self.instances
        parts = [f"{of.fetched:,} downloaded", f"{of.reused:,} already in the mirror"]
        parts += [f"{of.failed:,} failed"] if of.failed else []
        parts += [f"{of.quarantined:,} quarantined"] if of.quarantined else []
        free = f"; {human_bytes(self.bytes_free)} free on disk" if self.bytes_free is not None else ""
        done = self.outcome.capitalize()
        fetched = f"{human_bytes(self.bytes_fetched)} in {duration(self.seconds)} ({self._rates()})"
        lines = [
            f"{done}: {series_text(self.series)}; {counted(of.selected, 'instance')}: {', '.join(parts)}",
            f"{fetched}, {counted(self.requests, 'request')}, {counted(self.retries, 'retry')}",
            f"{one_line(self.mirror)} holds {human_bytes(self.bytes_mirror)} from {one_line(self.archive)}{free}",
            *([f"At the archive: {changes_text(self.changes)}"] if self.changes is not None else []),
            *source_lines(self.sources),
            *([f"{self.withdrawn:,} series of earlier releases of the archive"] if self.withdrawn else []),
            *not_decoded_lines(of.not_decoded),
            *failure_lines(self.failures, self.mirror, left_out=self.failures_left_out),
        ]
        if len(self.collections) > 1:
            lines += ["", collection_table(self.collections[:MOST_SHOWN], width)]
            more = len(self.collections) - MOST_SHOWN
            lines += [f"… and {more:,} more: {command('status', self.mirror)}", ""] if more > 0 else [""]
        if self.outcome is RunOutcome.COMPLETE:
            lines.append(f"To verify every file: {command('verify', self.mirror)}")
        return "\n".join(lines)

    def _rates(self) -> str:
        """The mean rate, and the peak where it is higher."""
        mean = round(self.bytes_fetched / self.seconds) if self.seconds else 0
        peak = f", peak {human_bytes(self.peak_bytes_per_second)}/s" if self.peak_bytes_per_second > mean else ""
        return f"{human_bytes(mean)}/s{peak}"

    def complaint(self) -> str | None:
        resume = way_on(self.mirror, only_quarantined=self.instances.failed == self.series.failed == 0)
        missing = self.instances.failed + self.instances.quarantined
        way = sync_again(self.mirror) if self.changes is not None else way_on(self.mirror)
        match self.outcome:
            case RunOutcome.COMPLETE:
                return None
            case RunOutcome.PARTIAL:
                if missing:
                    failed = f"{missing:,} of {self.instances.selected:,} instances"
                elif self.series.failed:
                    failed = f"{self.series.failed:,} of {self.series.selected:,} series"
                elif {failure.error for failure in self.failures if not failure.series} <= ABSENT:
                    return "some criteria matched nothing in the archive; everything else was mirrored"
                else:
                    return f"{UNANSWERED}; everything else was mirrored; {way}"
                status = command("status", self.mirror)
                return f"{failed} failed; all others were saved; to list them: {status}; {resume}"
            case RunOutcome.INTERRUPTED:
                return interrupted(way)
            case RunOutcome.FAILED:
                return f"the run failed; what was finished is kept; {way}"

    @property
    def ending(self) -> RunOutcome:
        return self.outcome


def changes_text(of: Changes) -> str:
    """Changes in words."""
    parts = [f"{of.new_series:,} series new, {of.changed_series:,} changed, {of.withdrawn_series:,} withdrawn"]
    for count, what in (
        (of.replaced_instances, "replaced"),
        (of.withdrawn_instances, "withdrawn"),
        (of.removed_files, "removed"),
    ):
        parts += [f"{counted(count, 'instance')} {what}"] if count else []
    return "; ".join(parts)
