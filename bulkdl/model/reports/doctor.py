"""The report of `doctor`."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Any

from bulkdl.model.formatting import counted
from bulkdl.model.reports.base import Report, RunOutcome, documents
from bulkdl.model.text import one_line


class CheckState(StrEnum):
    """The result of a check. `missing`: something optional is not installed."""

    OK = "ok"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `doctor` looked at, and what it found; where it is not ok, with what to do."""

    group: str
    name: str
    text: str
    state: CheckState = CheckState.OK


@dataclass(frozen=True, slots=True)
class DoctorReport(Report):
    """What `doctor` found."""

    checks: tuple[Check, ...]

    def as_json(self) -> dict[str, Any]:
        """The document of `doctor --json`."""
        return {"checks": documents(self.checks)}

    def as_text(self, width: int | None = None) -> str:
        parts = []
        for group, found in groupby(self.checks, key=attrgetter("group")):
            checks = list(found)
            width = max(len(check.name) for check in checks)
            parts.append("\n".join([group.capitalize(), *(f"  {_check_text(check, width)}" for check in checks)]))
        return "\n\n".join(parts)

    def complaint(self) -> str | None:
        failed = self._failed()
        return f"{counted(failed, 'check')} failed" if failed else None

    @property
    def ending(self) -> RunOutcome:
        return RunOutcome.PARTIAL if self._failed() else RunOutcome.COMPLETE

    def _failed(self) -> int:
        return sum(check.state is CheckState.FAILED for check in self.checks)


def _check_text(check: Check, width: int) -> str:
    mark = "" if check.state is CheckState.OK else f"{check.state.value}: "
    return f"{one_line(check.name):<{width}}  {mark}{one_line(check.text)}"
