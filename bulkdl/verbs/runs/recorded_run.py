"""Record in the journal what changes a mirror without asking an archive, as a run: `log` shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import RunRow
from bulkdl.model.reports.base import RunOutcome
from bulkdl.verbs.mirrors.open_mirror import OpenMirror


@dataclass(slots=True)
class RecordedRun:
    """How a run ends: the block of `recorded_run` sets it. `counts` are as in the report of a run.

    `run_id` is its number in the journal, 0 where it is not recorded.
    """

    run_id: int = 0
    outcome: RunOutcome = RunOutcome.FAILED
    counts: dict[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def recorded_run(
    mirror: OpenMirror, verb: str, settings: Mapping[str, Any], *, last: RunRow | None = None
) -> AsyncIterator[RecordedRun]:
    """Record a run with the archive of the last one, or of `last`; a mirror on which nothing was mirrored has no runs.

    A block that is cancelled ends the run as interrupted, one that raises anything else as failed.
    """
    last, ended = last or await mirror.journal(Journal.last_run), RecordedRun()
    if last is None:
        yield ended
        return
    run = await mirror.journal(
        Journal.begin_run,
        verb=verb,
        archive_name=last.archive_name,
        archive_url=last.archive_url,
        selection=None,
        settings=settings,
        now=datetime.now(UTC),
    )
    ended.run_id = run.id
    try:
        yield ended
    except asyncio.CancelledError:
        ended.outcome = RunOutcome.INTERRUPTED
        raise
    finally:
        await mirror.journal(Journal.end_run, run.id, outcome=ended.outcome, counts=ended.counts, now=datetime.now(UTC))
