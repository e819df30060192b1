"""The report of `relayout`."""

from dataclasses import dataclass
from typing import Any

from bulkdl.model.formatting import command, counted, duration
from bulkdl.model.reports.base import Refusal, Report, RunOutcome, documents, given
from bulkdl.model.reports.phrases import MOST_SHOWN
from bulkdl.model.text import one_line


@dataclass(frozen=True, slots=True)
class Renamed:
    """A folder of a Series before and after, relative to the mirror."""

    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayoutReport(Report):
    """The report of `relayout`.

    `series_moved` counts Series of which a file or the folder has another name, `series_failed` those that stay because
    something is in the way: `problems` names it. `files_other` are files that the mirror does not know and that moved
    along, `files_left` those that stay because their names are taken. `files_linked` and `files_removed` count the
    links of a view. `renames` has the first Series of a trial.
    """

    mirror: str
    outcome: RunOutcome
    layout: str
    layout_before: str
    view: str | None = None
    is_trial: bool = False
    series: int = 0
    series_moved: int = 0
    series_failed: int = 0
    files_moved: int = 0
    files_other: int = 0
    files_left: int = 0
    files_linked: int = 0
    files_removed: int = 0
    seconds: float = 0.0
    left: tuple[str, ...] = ()
    renames: tuple[Renamed, ...] = ()
    problems: tuple[Refusal, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `relayout --json`."""
        return {
            **self._values("mirror", "outcome"),
            "layout": {"before": self.layout_before, "after": self.layout},
            "view": self.view,
            "dry_run": self.is_trial,
            "series": {"selected": self.series, "moved": self.series_moved, "failed": self.series_failed},
            "files": self._values("moved", "other", "left", "linked", "removed", of="files_"),
            "seconds": round(self.seconds, 3),
            "left": list(self.left),
            **given(renames=documents(self.renames)),
            "problems": documents(self.problems),
        }

    def as_text(self, width: int | None = None) -> str:
        before = f", which was {self.layout_before}" if self.layout_before != self.layout else ""
        lines = [f"{one_line(self.mirror)}, layout {self.layout}{before}"]
        if self.view is not None:
            done = f"{self.files_linked:,} links made, {self.files_removed:,} removed, for {self.series:,} series"
            return "\n".join([lines[0], f"{self.outcome.capitalize()}: {done}, in {one_line(self.view)}"])
        moved = f"{self.series_moved:,} of {self.series:,} series, {counted(self.files_moved, 'file')}"
        if self.is_trial:
            names = [f"  {one_line(f'{each.before} -> {each.after}')}" for each in self.renames[:MOST_SHOWN]]
            more = [f"  … and {self.series_moved - len(names):,} more"] if self.series_moved > len(names) else []
            return "\n".join([*lines, f"{moved} would be renamed; nothing was changed", *names, *more])
        lines.append(f"{self.outcome.capitalize()}: {moved} renamed in {duration(self.seconds)}")
        if self.files_other:
            lines.append(f"{counted(self.files_other, 'file')} that the mirror does not know moved along")
        if self.files_left:
            where = ", ".join(map(one_line, self.left[:MOST_SHOWN]))
            lines.append(f"{counted(self.files_left, 'file')} stayed, because the name is taken: {where}")
        return "\n".join(lines)

    def complaint(self) -> str | None:
        if self.outcome is RunOutcome.INTERRUPTED:
            view = ("--layout", self.layout, "--as-view", self.view) if self.view else ()
            way = command("relayout", self.mirror, *view)
            return f"interrupted; nothing is lost; to finish: {way}"
        if self.problems:
            first = self.problems[0]
            more = f" (and {len(self.problems) - 1:,} more)" if len(self.problems) > 1 else ""
            return f"{first.path}: {first.message}{more}"
        return None

    @property
    def ending(self) -> RunOutcome:
        return self.outcome
