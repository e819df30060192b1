"""What was begun on a mirror and did not end, beside what it owes, and the commands that finish it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import VerbRun
from bulkdl.model.formatting import command, counted
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.status import UnfinishedWork
from bulkdl.store.layout import layout_name

_ENDED: Final = frozenset({RunOutcome.COMPLETE, RunOutcome.PARTIAL})


def unfinished_work(mirror: Path, journal: Journal) -> tuple[UnfinishedWork, ...]:
    """What another run has to finish, in the order in which to do it. Blocking."""
    found = []
    if (template := journal.unfinished_relayout()) is not None or journal.begun_moves():
        which = f" to {layout_name(template)}" if template is not None else ""
        message = f"a relayout{which} did not end: some files are not where they belong yet; nothing is lost"
        found.append(UnfinishedWork("relayout", message, command("relayout", str(mirror))))
    if unknown := sum(not row.is_resolved for row in journal.selections()):
        message = (
            f"not all series of {counted(unknown, 'selection')} are known yet: no run has asked for them to its end"
        )
        found.append(UnfinishedWork("mirror", message, command("resume", str(mirror))))
    found += unfinished_merges(mirror, journal)
    syncs = journal.runs_of("sync")
    if syncs and syncs[-1].outcome not in _ENDED:
        message = "a sync did not end: not all that is new, changed or withdrawn in the archive is known"
        found.append(UnfinishedWork("sync", message, command("sync", str(mirror))))
    if has_open_prune(journal):
        message = "a prune did not end: some withdrawn or superseded files were not removed"
        found.append(UnfinishedWork("prune", message, command("sync", str(mirror), "--prune")))
    return tuple(found)


def unfinished_merges(mirror: Path, journal: Journal) -> list[UnfinishedWork]:
    """The merges that did not end. Blocking."""
    return [
        UnfinishedWork(
            "merge",
            f"a merge of {_mirrors(sources)} did not end: what was not joined is still in these mirrors",
            command("merge", *sources, "--to", str(mirror)),
        )
        for sources in _unfinished_merges(journal.runs_of("merge"))
    ]


def has_open_prune(journal: Journal) -> bool:
    """Whether the last prune did not end."""
    runs = journal.runs_of("prune")
    return bool(runs) and runs[-1].outcome not in _ENDED


def _mirrors(sources: tuple[str, ...]) -> str:
    """The mirrors of a merge in words."""
    return sources[0] if len(sources) == 1 else f"{len(sources):,} mirrors"


def _unfinished_merges(runs: Iterable[VerbRun]) -> list[tuple[str, ...]]:
    """The sources of the merges that did not end, but for those that a later one has joined."""
    open_merges: dict[frozenset[str], tuple[str, ...]] = {}
    for run in runs:
        sources = tuple(map(str, run.settings.get("sources", ())))
        if run.outcome in _ENDED:
            open_merges = {key: each for key, each in open_merges.items() if not key <= set(sources)}
        elif sources:
            open_merges[frozenset(sources)] = sources
    return list(open_merges.values())
