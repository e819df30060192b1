"""The report of `adopt`."""

from dataclasses import dataclass
from typing import Any

from bulkdl.model.formatting import command, duration, plural
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import Refusal, Report, RunOutcome, documents
from bulkdl.model.reports.phrases import MOST_SHOWN, not_decoded_lines
from bulkdl.model.text import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptReport(Report):
    """The report of `adopt`.

    `found` = `adopted` + `already` (in the mirror before, or found twice) + `refused`. `others` are files that are not
    DICOM instances; they were ignored. `series` counts the Series with adopted instances, `bytes_adopted` their bytes.
    """

    mirror: str
    source: str
    run: int
    outcome: RunOutcome
    series: int
    found: int
    adopted: int
    already: int
    refused: int
    others: int
    bytes_adopted: int
    bytes_mirror: int
    seconds: float
    not_decoded: int = 0
    problems: tuple[Refusal, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `adopt --json`."""
        return {
            **self._values("mirror", "source", "run", "outcome"),
            "series": {"adopted": self.series},
            "instances": self._values("found", "adopted", "already", "refused", "not_decoded"),
            "files": {"others": self.others},
            "bytes": {"adopted": self.bytes_adopted, "mirror": self.bytes_mirror},
            "seconds": round(self.seconds, 3),
            "problems": documents(self.problems),
        }

    def as_text(self, width: int | None = None) -> str:
        adopted = f"{self.outcome.capitalize()}: {self.adopted:,} of {self.found:,} instances adopted"
        size = f"{self.series:,} series, {human_bytes(self.bytes_adopted)}"
        lines = [f"{adopted}, of {size}, in {duration(self.seconds)}"]
        if self.already:
            lines.append(f"{self.already:,} were already in the mirror, or found twice")
        if self.others:
            lines.append(f"{self.others:,} other {plural('file', self.others)} left alone")
        lines += not_decoded_lines(self.not_decoded)
        if self.problems:
            shown = self.problems[:MOST_SHOWN]
            lines += ["Rejected, and left in place:"]
            lines += [f"  {one_line(f'{problem.path}: {problem.message}')}" for problem in shown]
            if (more := self.refused - len(shown)) > 0:
                lines.append(f"… and {more:,} more")
        lines.append(f"{one_line(self.mirror)} holds {human_bytes(self.bytes_mirror)}")
        if self.outcome is not RunOutcome.INTERRUPTED:
            lines.append(f"To download what the adopted series lack: {command('resume', self.mirror)}")
        return "\n".join(lines)

    def complaint(self) -> str | None:
        if self.outcome is RunOutcome.INTERRUPTED:
            return "interrupted; what was adopted is kept; repeat the command to continue"
        if not self.found:
            return f"no DICOM file was found below {self.source}"
        if not self.refused:
            return None
        return f"{self.refused:,} of {self.found:,} instances were rejected and left in place; all others were adopted"

    @property
    def ending(self) -> RunOutcome:
        found_none = not self.found and self.outcome is RunOutcome.COMPLETE
        return RunOutcome.PARTIAL if found_none else self.outcome
