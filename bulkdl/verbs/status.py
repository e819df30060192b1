"""`status` and `log`: what a mirror holds and owes, and its runs, from its journal alone. They take no lock."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bulkdl.journal.journal import Journal
from bulkdl.model.access import DEMOS
from bulkdl.model.reports.log import LogReport
from bulkdl.model.reports.status import StatusReport
from bulkdl.store.mirror_lock import holder
from bulkdl.store.run_progress import read_progress
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.runs.unfinished_work import unfinished_work

_FAILURES_NAMED: Final = 100


async def status_async(mirror: Paths) -> StatusReport:
    """Say what a mirror holds and owes, from its journal alone. Raises JournalError: that cannot be read."""
    return await asyncio.to_thread(read_status, Path(mirror))


status = blocking(status_async)


def read_status(mirror: Path) -> StatusReport:
    """As `status_async`. Blocking, without an event loop."""
    with Journal.open_readonly(require_mirror(mirror)) as journal, journal.snapshot():
        last = journal.last_run()
        counts, running = journal.counts(None), holder(mirror)
        return StatusReport(
            mirror=str(mirror.resolve()),
            archive=(last.archive_name if last.archive_name in DEMOS else last.archive_url) if last else "",
            run=last.id if last else 0,
            running=running,
            last_outcome=last.outcome.value if last and last.outcome else None,
            series=counts.series,
            selected=counts.instances_selected,
            held=counts.held,
            owed=counts.owed,
            failed=counts.failed,
            quarantined=counts.quarantined,
            unlisted_series=counts.series_unlisted,
            bytes_mirror=counts.held_bytes,
            not_decoded=journal.not_decoded(None),
            collections=tuple(journal.collections()),
            failures_by_error=journal.failures_by_error(),
            failures=tuple(journal.failures(limit=_FAILURES_NAMED)),
            unanswered=tuple(journal.unanswered()),
            unfinished=() if running else unfinished_work(mirror, journal),
            progress=asdict(progress) if running and (progress := read_progress(mirror)) else {},
        )


async def log_async(mirror: Paths) -> LogReport:
    """List the runs on a mirror and what each changed, from its journal alone. Raises JournalError: it has none."""
    return await asyncio.to_thread(read_log, Path(mirror))


log = blocking(log_async)


def read_log(mirror: Path) -> LogReport:
    """As `log_async`. Blocking, without an event loop."""
    with Journal.open_readonly(require_mirror(mirror)) as journal:
        return LogReport(str(mirror.resolve()), tuple(journal.runs()))
