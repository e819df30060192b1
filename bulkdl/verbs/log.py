"""`log`: the runs on a mirror, from its journal alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bulkdl.journal.journal import Journal
from bulkdl.model.reports import LogReport
from bulkdl.verbs.blocking import blocking
from bulkdl.verbs.common import require_mirror
from bulkdl.verbs.signatures import Paths


async def log_async(mirror: Paths) -> LogReport:
    """List the runs on a mirror and what each changed, from its journal alone. Raises JournalError: it has none."""
    return await asyncio.to_thread(read_log, Path(mirror))


log = blocking(log_async)


def read_log(mirror: Path) -> LogReport:
    """As `log_async`. Blocking, without an event loop."""
    with Journal.open_readonly(require_mirror(mirror)) as journal:
        return LogReport(str(mirror.resolve()), tuple(journal.runs()))
