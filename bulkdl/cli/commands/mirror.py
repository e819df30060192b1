"""`bulkdl mirror`: download what is selected into a folder."""

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import VerbCall, fetch_options, running, selection_options
from bulkdl.cli.runner import confirm, confirm_rate, consenting, run_verb, yes_option
from bulkdl.cli.sections import command
from bulkdl.model.reports.phrases import interrupted, way_on
from bulkdl.model.selection import Selection
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.runs.prepared_process import prepared_process


@command(
    "bulkdl mirror RIDER-Lung-CT --to rider",
    "bulkdl mirror --collection TCGA-GBM --modality MR --since 2024-01-01 --to gbm",
    "bulkdl mirror --manifest cohort.tcia --to cohort --validate pixels",
)
@running(mirror_async, yes_option, selection_options, fetch_options)
def mirror(call: VerbCall, selection: Selection, *, yes: bool) -> int:
    """Download what is selected into the mirror at DIR.

    A DATA_SET is a manifest file, a Series or Study UID, a DOI or TCIA page, a collection or a patient.
    A second run with the same arguments continues where the first one stopped, and downloads only what is missing.
    """
    choice, to = choose_archive(call.archive), call.options["to"]
    if selection.everything:
        confirm(f"Mirror the whole archive {call.archive.name} into {to}?", yes=yes)
    confirm_rate(call.settings, yes=yes)
    choice = consenting(choice, to, selection, yes=yes)
    return run_verb(
        lambda sink, stop: mirror_async(selection, **call.options, archive=choice, sink=sink, stop=stop),
        call.output,
        when_interrupted=interrupted(way_on(str(to))),
        prepare=lambda: prepared_process(choice, call.settings),
    )
