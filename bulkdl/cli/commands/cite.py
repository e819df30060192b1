"""`bulkdl cite`: references, licences and a data-availability paragraph."""

import asyncio

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import VerbCall, fetch_options, running, selection_options
from bulkdl.cli.runner import run_verb, unless_stopped
from bulkdl.cli.sections import command
from bulkdl.model.access import DEFAULT_ARCHIVE
from bulkdl.model.events import Sink
from bulkdl.model.reports.cite import CiteReport
from bulkdl.model.selection import Selection
from bulkdl.verbs.cite import cite_async
from bulkdl.verbs.manifest_lock import mirror_to_lock


@command("bulkdl cite rider", "bulkdl cite rider --format bibtex", "bulkdl cite RIDER-Lung-CT --archive idc")
@running(cite_async, selection_options, fetch_options)
def cite(call: VerbCall, selection: Selection) -> int:
    """Print the references of what a mirror holds, or of a selection, with a data-availability paragraph.

    A DATA_SET that is the folder of a mirror is cited from its journal, without a request.
    """
    choice = choose_archive(call.archive) if mirror_to_lock(selection) is None else DEFAULT_ARCHIVE
    options = {name: value for name, value in call.options.items() if name != "settings"}

    async def cite_until_stopped(sink: Sink, stop: asyncio.Event) -> CiteReport:
        return await unless_stopped(cite_async(selection, **options, archive=choice, sink=sink, stop=stop), stop)

    return run_verb(cite_until_stopped, call.output, when_interrupted="interrupted; nothing was cited", is_result=True)
