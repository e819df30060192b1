"""The report of `merge`."""

from dataclasses import dataclass
from typing import Any

from bulkdl.model.formatting import counted, duration
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import Refusal, Report, RunOutcome, documents
from bulkdl.model.reports.phrases import MOST_SHOWN, way_on
from bulkdl.model.text import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport(Report):
    """The report of `merge`. The numbers of instances are those of the other mirrors.

    `brought` are now in the mirror, `already` were there with the same bytes, `conflicts` with others. `missing` are
    recorded there, and their files are not: they are owed now. `linked` and `copied` are how new files came.
    """

    mirror: str
    sources: tuple[str, ...]
    outcome: RunOutcome
    by: str
    series: int = 0
    brought: int = 0
    already: int = 0
    conflicts: int = 0
    missing: int = 0
    linked: int = 0
    copied: int = 0
    bytes_brought: int = 0
    bytes_mirror: int = 0
    seconds: float = 0.0
    problems: tuple[Refusal, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `merge --json`."""
        return {
            **self._values("mirror", "outcome", "by"),
            "sources": list(self.sources),
            "series": {"selected": self.series},
            "instances": self._values("brought", "already", "conflicts", "missing"),
            "files": self._values("linked", "copied"),
            "bytes": self._values("brought", "mirror", of="bytes_"),
            "seconds": round(self.seconds, 3),
            "problems": documents(self.problems),
        }

    def as_text(self, width: int | None = None) -> str:
        ways = [f"{count:,} {way}" for way, count in (("linked", self.linked), ("copied", self.copied)) if count]
        moved = ", where they were removed" if self.by == "move" else ""
        joined = f"{counted(self.brought, 'instance')} of {self.series:,} series joined"
        lines = [
            f"{self.outcome.capitalize()}: {joined}, {human_bytes(self.bytes_brought)} in {duration(self.seconds)}",
            f"{', '.join(ways) or 'no file'} from {', '.join(map(one_line, self.sources)) or 'no other mirror'}{moved}",
        ]
        if self.already:
            lines.append(f"{counted(self.already, 'instance')} already there")
        lines += [f"  {one_line(f'{each.path}: {each.message}')}" for each in self.problems[:MOST_SHOWN]]
        if (more := len(self.problems) - MOST_SHOWN) > 0:
            lines.append(f"  … and {more:,} more")
        lines.append(f"{one_line(self.mirror)} holds {human_bytes(self.bytes_mirror)}")
        return "\n".join(lines)

    def complaint(self) -> str | None:
        if self.outcome is RunOutcome.INTERRUPTED:
            return "interrupted; what was joined is kept; repeat the command to continue"
        if self.conflicts:
            return f"{counted(self.conflicts, 'conflict')}: the mirrors have different bytes; nothing was overwritten"
        if self.missing:
            return f"{counted(self.missing, 'file')} missing in the other mirrors; {way_on(self.mirror)}"
        return None

    @property
    def ending(self) -> RunOutcome:
        return self.outcome
