"""`resume`: download everything that a mirror still owes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Unpack

from bulkdl.errors import JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.model.reports.run import RunReport
from bulkdl.store.layout import parse_layout
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.connections.open_archive import open_archive, with_supporting
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.mirrors.folders import kept_locks
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from bulkdl.verbs.runs.mirror_run import begin_run
from bulkdl.verbs.runs.options import DownloadOptions, NewLayout, kept_context, with_command


class ResumeOptions(DownloadOptions, total=False):
    """The options of `resume`."""

    layout: NewLayout


async def resume_async(mirror: Paths, **options: Unpack[ResumeOptions]) -> RunReport:
    """Download everything that a mirror still owes, without resolving again.

    The archive is that of the last run, unless another one that has the same data is given. A selection whose resolving
    was interrupted is resolved to its end. Settings that are not given are those of the last `mirror` run, which is
    announced. A `layout` other than the mirror's is refused. `stop` works as in `mirror`. Raises as
    `mirror`, and `JournalUnreadable` where there is no mirror.
    """
    root, layout = Path(mirror), options.get("layout")
    chosen = parse_layout(layout) if layout is not None else None
    context = await asyncio.to_thread(kept_context, root, options)
    context = with_command(context, options)
    async with open_mirror(root, "resume", private=context.settings.private) as opened:
        last = await opened.journal(Journal.last_run)
        if last is None:
            raise JournalUnreadable(f"{mirror} has no run to resume; use bulkdl mirror")
        rows = await opened.journal(Journal.selections)
        archive = with_supporting(choose_archive(options.get("archive"), last.archive_name), rows)
        unresolved = [row for row in rows if not row.is_resolved]
        async with open_archive(archive, context) as source:
            settled = await opened.settle_layout(chosen, context.sink)
            run = await begin_run("resume", opened, source, context)
            run.locks = await asyncio.to_thread(kept_locks, root)
            await opened.journal(Journal.owe_again, run.run)
            return await run.carry_out(lambda: run.selections.resolve_rest(unresolved, settled))


resume = blocking(resume_async)
