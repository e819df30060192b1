"""The report of `push`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bulkdl.model.formatting import command, counted, duration
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import Failure, Report, RunOutcome, SeriesCounts, documents, given
from bulkdl.model.reports.phrases import MOST_SHOWN, interrupted, series_text
from bulkdl.model.text import one_line


@dataclass(frozen=True, slots=True)
class PushCounts:
    """Instances by what became of them: after a run that was not interrupted, `selected` is the sum of the others.

    `already` are those that the archive has confirmed in an earlier run, or said to have.
    """

    selected: int = 0
    sent: int = 0
    already: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport(Report):
    """The report of `push`. Bytes are those of files; `seconds` is wall-clock time. `name` is that of the archive.

    `left_out` counts the Series whose files are not DICOM, such as slides. `warnings` are the texts of archives that
    stored instances with a warning, with the number of these. `failures` names the first ones.
    """

    mirror: str
    archive: str
    name: str
    run: int
    outcome: RunOutcome
    series: SeriesCounts
    instances: PushCounts
    bytes_selected: int
    bytes_sent: int
    requests: int
    retries: int
    seconds: float
    failures: tuple[Failure, ...] = ()
    failures_left_out: int = 0
    left_out: int = 0
    warnings: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The document of `push --json`."""
        return {
            **self._values("mirror", "archive", "run", "outcome"),
            "series": asdict(self.series),
            "instances": asdict(self.instances),
            "bytes": self._values("selected", "sent", of="bytes_"),
            **self._values("requests", "retries"),
            "seconds": round(self.seconds, 3),
            "failures": documents(self.failures),
            **given(failures_left_out=self.failures_left_out, left_out=self.left_out, warnings=dict(self.warnings)),
        }

    def as_text(self, width: int | None = None) -> str:
        of = self.instances
        parts = [f"{of.sent:,} sent", f"{of.already:,} already there"]
        parts += [f"{of.failed:,} failed"] if of.failed else []
        selected = counted(of.selected, "instance")
        rate = round(self.bytes_sent / self.seconds) if self.seconds else 0
        sent = f"{human_bytes(self.bytes_sent)} in {duration(self.seconds)} ({human_bytes(rate)}/s)"
        lines = [
            f"{self.outcome.capitalize()}: {series_text(self.series)}; {selected}: {', '.join(parts)}",
            f"{sent}, {counted(self.requests, 'request')}, {counted(self.retries, 'retry')}",
            f"{one_line(self.mirror)} to {one_line(self.archive)}",
            *([f"{self.left_out:,} series left out: their files are not DICOM"] if self.left_out else []),
            *(f"{counted(count, 'instance')} {one_line(text)}" for text, count in self.warnings.items()),
        ]
        shown = self.failures[:MOST_SHOWN]
        more = len(self.failures) + self.failures_left_out - len(shown)
        lines += ["Failed:"] if shown else []
        lines += [one_line(f"  {each.instance or 'selection'}: {each.message}") for each in shown]
        lines += [f"  … and {more:,} more: --json names them"] if more else []
        return "\n".join(lines)

    def complaint(self) -> str | None:
        again = f"to continue: {command('push', self.mirror, '--to', self.name)}"
        if self.outcome is RunOutcome.INTERRUPTED:
            return interrupted(again)
        if self.outcome is RunOutcome.PARTIAL and not self.instances.failed:
            rest = "everything else was sent" if self.instances.selected else "nothing was sent"
            return f"{self.failures[0].message}; {rest}"
        if self.outcome is RunOutcome.PARTIAL:
            failed = f"{self.instances.failed:,} of {self.instances.selected:,} instances"
            return f"{failed} failed; the archive has all others; {again}"
        return None

    @property
    def ending(self) -> RunOutcome:
        return self.outcome
