"""The report of `log`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bulkdl.model.formatting import counted, table
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import Report, documents
from bulkdl.model.reports.run import Changes, changes_text


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run on a mirror. Moments are ISO 8601 in UTC; `ended` and `outcome` are None where it did not end.

    `archive` is that of the mirror, or the one that `push` sent to. `instances`, `bytes` and `changes` are those of its
    report.
    """

    run: int
    verb: str
    archive: str
    started: str
    ended: str | None
    outcome: str | None
    instances: dict[str, int]
    bytes: dict[str, int]
    changes: dict[str, int]

    @property
    def seconds(self) -> float | None:
        """How long the run took; None where it did not end."""
        if self.ended is None:
            return None
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()


@dataclass(frozen=True, slots=True)
class LogReport(Report):
    """The runs on a mirror, oldest first."""

    mirror: str
    runs: tuple[RunSummary, ...]

    def as_json(self) -> dict[str, Any]:
        """The document of `log --json`."""
        return {"mirror": self.mirror, "runs": documents(self.runs)}

    def as_text(self, width: int | None = None) -> str:
        rows = [
            (
                str(run.run),
                run.verb,
                run.archive,
                run.started[:19].replace("T", " "),
                run.outcome or "not finished",
                f"{run.instances.get('fetched', run.instances.get('adopted', 0)):,}",
                human_bytes(run.bytes.get("fetched", run.bytes.get("adopted", 0))),
                _changes(run),
            )
            for run in self.runs
        ]
        return table(
            ("run", "verb", "archive", "started (UTC)", "outcome", "new", "size", "changes"), rows, left=5, width=width
        )


def _changes(run: RunSummary) -> str:
    """What a run changed, or sent."""
    if "sent" in run.instances:
        return f"{counted(run.instances['sent'], 'instance')} sent, {human_bytes(run.bytes.get('sent', 0))}"
    return changes_text(Changes(**run.changes)) if any(run.changes.values()) else ""
