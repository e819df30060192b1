"""The report of `status`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bulkdl.model.events import Progress
from bulkdl.model.formatting import table
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import Failure, InstanceCounts, Report, SeriesCounts, documents, given
from bulkdl.model.reports.collections import CollectionStatus, collection_table
from bulkdl.model.reports.phrases import failure_lines, not_decoded_lines, series_text, way_on
from bulkdl.model.text import one_line
from bulkdl.model.work_states import state_of_run


@dataclass(frozen=True, slots=True)
class UnfinishedWork:
    """What was begun on a mirror by `verb` and did not end, and the `command` that finishes it."""

    verb: str
    message: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport(Report):
    """What a mirror holds and owes, from its journal alone.

    What Series in `unlisted_series` owe is not counted. `failures_by_error` maps a code to the number of instances, or
    whole Series, that failed with it. `unanswered`: criteria that matched nothing, or could not be asked for, in the
    last run of each selection. `unfinished` is empty while a process works on the mirror; while a run downloads,
    `progress` has the values of its last event of that name.
    """

    mirror: str
    archive: str
    run: int
    running: str | None
    series: SeriesCounts
    selected: int
    held: int
    owed: int
    failed: int
    quarantined: int
    unlisted_series: int
    bytes_mirror: int
    not_decoded: int = 0
    last_outcome: str | None = None
    collections: tuple[CollectionStatus, ...] = ()
    failures_by_error: dict[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    unanswered: tuple[str, ...] = ()
    unfinished: tuple[UnfinishedWork, ...] = ()
    progress: Mapping[str, Any] = field(default_factory=dict)

    @property
    def instances(self) -> InstanceCounts:
        """The `instances` block of the contract."""
        return InstanceCounts(self.selected, 0, self.held, self.failed, self.quarantined, self.not_decoded)

    def as_json(self) -> dict[str, Any]:
        """The document of `status --json`."""
        return {
            **self._values("mirror", "archive", "run", "running"),
            "outcome": self.last_outcome,
            "series": {**asdict(self.series), "unlisted": self.unlisted_series},
            "instances": {**asdict(self.instances), **self._values("held", "owed")},
            "bytes": {"mirror": self.bytes_mirror},
            "collections": documents(self.collections),
            "errors": self.failures_by_error,
            "failures": documents(self.failures),
            "unanswered": list(self.unanswered),
            "unfinished": documents(self.unfinished),
            **given(progress=dict(self.progress)),
        }

    def as_text(self, width: int | None = None) -> str:
        state = f"running: {self.running}" if self.running else f"last run: {self.last_outcome or 'not finished'}"
        source = f", mirrored from {one_line(self.archive)}" if self.archive else ""
        lines = [
            f"{one_line(self.mirror)}{source}",
            one_line(f"run {self.run}, {state}") if self.run or self.running else "no run yet",
            (
                f"{series_text(self.series)}; {self.held:,} of {self.selected:,} instances held,"
                f" {human_bytes(self.bytes_mirror)}"
            ),
        ]
        lines += [str(state_of_run(Progress(**self.progress)))] if self.progress else []
        states = ("owed", "failed", "quarantined")
        owed = [f"{count:,} {state}" for state in states if (count := getattr(self, state))]
        if self.unlisted_series:
            owed.append(f"{self.unlisted_series:,} series not listed yet")
        if owed:
            lines.append(", ".join(owed))
        lines += not_decoded_lines(self.not_decoded)
        if self.collections:
            lines += ["", collection_table(self.collections, width)]
        if self.failures_by_error:
            rows = sorted(self.failures_by_error.items(), key=lambda entry: (-entry[1], entry[0]))
            lines += ["", table(("error", "count"), ((code, f"{count:,}") for code, count in rows))]
        lines += failure_lines(self.failures, self.mirror, asked=True)
        lines += [f"failed in the last run: {one_line(message)}" for message in self.unanswered]
        lines += [f"{one_line(each.message)}; to finish it: {one_line(each.command)}" for each in self.unfinished]
        if owed and not self.running:
            rest = self.owed + self.failed + self.series.failed + self.unlisted_series
            way = way_on(self.mirror, only_quarantined=not rest)
            lines.append(f"{way[0].upper()}{way[1:]}")
        return "\n".join(lines)
