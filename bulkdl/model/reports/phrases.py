"""Lines and phrases that the texts of several reports have. Every name from outside passes through `one_line`."""

from collections.abc import Mapping, Sequence
from typing import Final

from bulkdl.errors import NotFound, SelectionError
from bulkdl.model.formatting import command, counted
from bulkdl.model.reports.base import Failure, SeriesCounts
from bulkdl.model.text import one_line

MOST_SHOWN: Final = 10
UNANSWERED: Final = "the archive did not answer every question"
ABSENT: Final = frozenset({NotFound.code, SelectionError.code})


def source_lines(sources: Mapping[str, int]) -> list[str]:
    """The Series from each source, where an archive routes between several."""
    shown = ", ".join(f"{count:,} series from {name.upper()}" for name, count in sorted(sources.items()))
    return [shown] if shown else []


def unanswered_lines(failures: Sequence[Failure]) -> list[str]:
    """The first questions that the archive did not answer, and what it does not have."""
    return [f"  {failure.series or 'a question'}: {one_line(failure.message)}" for failure in failures[:MOST_SHOWN]]


def not_decoded_lines(count: int) -> list[str]:
    """Says that instances were not decoded, if there are any."""
    shown = f"{counted(count, 'instance')} not decoded: no installed decoder supports their pixels"
    return [shown] if count else []


def absence_complaint(failures: Sequence[Failure]) -> str | None:
    """What was not found; an error of the archive is not the answer that something is absent."""
    if not failures:
        return None
    missing = sum(failure.error in ABSENT for failure in failures)
    were = f"{counted(missing, 'item')} requested by name {'was' if missing == 1 else 'were'} not found in the archive"
    if missing == len(failures):
        return were
    return f"{UNANSWERED}; {were}" if missing else UNANSWERED


def interrupted(way: str) -> str:
    """The message of a run that was interrupted; `way` is what to do next."""
    return f"interrupted; what was finished is kept; {way}"


def sync_again(mirror: str, *options: str) -> str:
    """What to do after a sync that did not end: `resume` does not ask the archive what is new or withdrawn."""
    return f"to continue: {command('sync', mirror, *options)}"


def way_on(mirror: str, *, only_quarantined: bool = False) -> str:
    """What to do next. Quarantined instances are invalid at the archive itself: to ask it again gives the same."""
    if only_quarantined:
        return f"to keep quarantined instances as they are: {command('resume', '--accept-unsound', mirror)}"
    return f"to continue: {command('resume', mirror)}"


def series_text(counts: SeriesCounts) -> str:
    """How many Series are complete, and how many failed."""
    failed = f", {counts.failed:,} failed" if counts.failed else ""
    return f"{counts.complete:,} of {counts.selected:,} series complete{failed}"


def failure_lines(failures: Sequence[Failure], mirror: str, *, left_out: int = 0, asked: bool = False) -> list[str]:
    """The first failures, one per line. `asked`: the reader asked for them, so `status` is not suggested."""
    if not failures:
        return []
    shown = failures[:MOST_SHOWN]
    lines = [one_line(f"{_name_of(failed)}{failed.message}") for failed in shown]
    if (more := len(failures) - len(shown) + left_out) > 0:
        lines.append(f"… and {more:,} more" + ("" if asked else f": {command('status', mirror)}"))
    return ["Failed:", *(f"  {line}" for line in lines)]


def _name_of(failed: Failure) -> str:
    """What failed. A criterion that matched nothing has neither instance nor Series."""
    return f"{failed.instance}: " if failed.instance else f"series {failed.series}: " if failed.series else ""
