"""The report of `sync --dry-run`."""

from dataclasses import asdict, dataclass
from typing import Any

from bulkdl.model.reports.base import Failure, Report, RunOutcome, documents, given
from bulkdl.model.reports.phrases import UNANSWERED, unanswered_lines
from bulkdl.model.reports.run import Changes, changes_text


@dataclass(frozen=True, slots=True)
class SyncPlan(Report):
    """What `sync` would do, without doing it. `changes` counts Series only; `notes` are as in `RunReport`."""

    mirror: str
    archive: str
    changes: Changes
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `sync --dry-run --json`."""
        document = {
            "changes": asdict(self.changes),
            "failures": documents(self.failures),
            **given(notes=list(self.notes)),
        }
        return {**self._values("mirror", "archive"), **document}

    def as_text(self, width: int | None = None) -> str:
        return "\n".join([f"{changes_text(self.changes)}; nothing was changed", *unanswered_lines(self.failures)])

    def complaint(self) -> str | None:
        return UNANSWERED if self.failures else None

    @property
    def ending(self) -> RunOutcome:
        return RunOutcome.PARTIAL if self.failures else RunOutcome.COMPLETE
