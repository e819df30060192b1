"""The report of `verify`."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from bulkdl.model.formatting import command, counted, duration, table
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import InstanceCounts, Report, RunOutcome, SeriesCounts, documents, given
from bulkdl.model.reports.phrases import MOST_SHOWN, not_decoded_lines, way_on
from bulkdl.model.reports.run import RunReport
from bulkdl.model.reports.status import UnfinishedWork
from bulkdl.model.text import one_line


class ProblemKind(StrEnum):
    """How a file differs from the journal, or (`differs`) a whole Series from the archive."""

    MISSING = "missing"
    TRUNCATED = "truncated"
    ALTERED = "altered"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Problem:
    """One file that differs from the journal. `path` is relative to the mirror; a foreign file has no `instance`.

    Where a Series differs from the archive, `path` is its folder, `series` its UID, and `message` says how.
    """

    path: str
    problem: ProblemKind
    instance: str | None = None
    series: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport(Report):
    """The report of `verify`. `repair` is the report of the repairs, if they were requested.

    `series_compared` counts the Series compared with the archive, None if that was not requested. `owed` are instances
    that `resume` downloads; failed and quarantined ones are not among them. A run that was interrupted may have left
    `series_unlisted`, whose instances are not known, or a selection of which not all Series are: then not
    `is_resolved`. Merges that are `unfinished` have not joined all Series. `against` is the lock file that a folder was
    compared with, and `notes` say what that cannot prove.
    """

    mirror: str
    series: SeriesCounts
    checked: int
    sound: int
    owed: int
    bytes_checked: int
    seconds: float
    instances: InstanceCounts = field(default_factory=InstanceCounts)
    problems: tuple[Problem, ...] = ()
    repair: RunReport | None = None
    series_compared: int | None = None
    is_quick: bool = False
    series_unlisted: int = 0
    is_resolved: bool = True
    unfinished: tuple[UnfinishedWork, ...] = ()
    against: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def remaining(self) -> int:
        """How many problems are left: all, or after complete repairs those that these do not change: foreign files."""
        if self.repair is None or self.repair.outcome is not RunOutcome.COMPLETE:
            return len(self.problems)
        return sum(problem.instance is None for problem in self.problems)

    def as_json(self) -> dict[str, Any]:
        """The document of `verify --json`."""
        counts = asdict(self.instances)
        return {
            "mirror": self.mirror,
            "series": asdict(self.series),
            "instances": {**counts, **self._values("checked", "sound", "owed"), "held": counts["reused"]},
            "bytes": {"checked": self.bytes_checked},
            "seconds": round(self.seconds, 3),
            "problems": documents(self.problems),
            **({"compared": {"series": self.series_compared}} if self.series_compared is not None else {}),
            **given(repair=self.repair and self.repair.as_json(), against=self.against, notes=list(self.notes)),
        }

    def as_text(self, width: int | None = None) -> str:
        read = f"{human_bytes(self.bytes_checked)} {'compared by size' if self.is_quick else 'read'}"
        valid = f"{one_line(self.mirror)}: {self.sound:,} of {self.checked:,} files valid"
        lines = [f"{valid}, {read} in {duration(self.seconds)}"]
        if self.owed:
            lines.append(f"{counted(self.owed, 'instance')} owed, so not verified")
        if self.against is None and (count := self.instances.failed):
            lines.append(f"{counted(count, 'instance')} failed, so not verified")
        if count := self.instances.quarantined:
            lines.append(f"{counted(count, 'instance')} quarantined as invalid, so not verified")
        lines += [*not_decoded_lines(self.instances.not_decoded), *map(one_line, self.notes)]
        shown = self.problems[:MOST_SHOWN]
        if shown:
            rows = ((found.problem.value, ": ".join(filter(None, (found.path, found.message)))) for found in shown)
            lines.append(table(("problem", "file"), rows, left=2))
        if (more := len(self.problems) - len(shown)) > 0:
            lines.append(f"… and {more:,} more: {command('verify', self.mirror, '--json')}")
        if self.series_compared is not None:
            lines.append(f"{self.series_compared:,} series compared with the archive")
        if self.repair is not None:
            lines += ["Repaired:", self.repair.as_text()]
        return "\n".join(lines)

    def complaint(self) -> str | None:
        if self.repair is not None and (complaint := self.repair.complaint()) is not None:
            return complaint
        if count := self.remaining:
            found = counted(count, "problem")
            if self.against is not None:
                way = command("mirror", "--manifest", self.against, "--to", "DIR")
                return f"{found} found: this is not what {one_line(self.against)} locks; to rebuild it: {way}"
            if any(problem.instance is not None for problem in self.problems) and self.repair is None:
                return f"{found} found; nothing was changed; to repair: {command('verify', '--repair', self.mirror)}"
            if all(problem.problem is ProblemKind.DIFFERS for problem in self.problems):
                return f"{found} found: the archive has other data; nothing was changed; `mirror` downloads what is new"
            return f"{found} left: files that the journal does not know are never changed; move them yourself"
        return self._owed_complaint() if self.against is None else None

    def _owed_complaint(self) -> str | None:
        if self.owed:
            return f"{counted(self.owed, 'instance')} still owed; {way_on(self.mirror)}"
        if self.series_unlisted or not self.is_resolved:
            which = f"the instances of {self.series_unlisted:,} series" if self.series_unlisted else "all series"
            return f"a run was interrupted before it knew {which}; {way_on(self.mirror)}"
        if self.unfinished:
            return f"{one_line(self.unfinished[0].message)}; to finish it: {one_line(self.unfinished[0].command)}"
        if self.instances.failed or (self.series.failed and not self.instances.quarantined):
            failed = (
                counted(self.instances.failed, "instance")
                if self.instances.failed
                else f"{self.series.failed:,} series"
            )
            return f"{failed} failed; to list them: {command('status', self.mirror)}; {way_on(self.mirror)}"
        if count := self.instances.quarantined:
            status = command("status", self.mirror)
            way = way_on(self.mirror, only_quarantined=True)
            return f"{counted(count, 'instance')} quarantined as invalid; to list them: {status}; {way}"
        return None

    @property
    def ending(self) -> RunOutcome:
        if self.repair is not None and self.repair.outcome is not RunOutcome.COMPLETE:
            return self.repair.outcome
        return RunOutcome.PARTIAL if self.complaint() is not None else RunOutcome.COMPLETE
