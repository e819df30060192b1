"""`bulkdl plan`: what a mirror of the selection needs."""

import asyncio

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import VerbCall, fetch_options, running, selection_options
from bulkdl.cli.runner import run_verb, unless_stopped
from bulkdl.cli.sections import command
from bulkdl.model.events import Sink
from bulkdl.model.reports.plan import PlanReport
from bulkdl.model.selection import Selection
from bulkdl.verbs.plan import plan_async


@command("bulkdl plan RIDER-Lung-CT", "bulkdl plan --manifest cohort.csv --to cohort --save series.tcia")
@running(plan_async, selection_options, fetch_options)
def plan(call: VerbCall, selection: Selection) -> int:
    """Resolve the selection and show what would be downloaded: series, instances, bytes, free disk.

    A DATA_SET is a manifest file, a Series or Study UID, a DOI or TCIA page, a collection or a patient.
    """
    choice = choose_archive(call.archive)

    async def plan_until_stopped(sink: Sink, stop: asyncio.Event) -> PlanReport:
        return await unless_stopped(plan_async(selection, **call.options, archive=choice, sink=sink, stop=stop), stop)

    return run_verb(
        plan_until_stopped, call.output, when_interrupted="interrupted; nothing was downloaded", is_result=True
    )
