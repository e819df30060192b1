"""`bulkdl resume`: download what a mirror still owes."""

from pathlib import Path

from bulkdl.cli.credentials import choose_archive_of
from bulkdl.cli.options import VerbCall, fetch_options, given_settings, mirror_argument, running
from bulkdl.cli.runner import confirm_rate, consenting, run_verb, yes_option
from bulkdl.cli.sections import command
from bulkdl.model.reports.phrases import interrupted, way_on
from bulkdl.verbs.resume import resume_async
from bulkdl.verbs.runs.prepared_process import prepared_process


@command("bulkdl resume rider", "bulkdl resume rider --rate-limit 20MB/s --workers 2")
@mirror_argument
@running(resume_async, yes_option, fetch_options)
def resume(call: VerbCall, mirror: Path, *, yes: bool) -> int:
    """Download everything that the mirror at DIR still owes, without resolving again.

    The archive is that of the mirror's last run, unless --archive names another one that has the same data. Fetching
    options that are not given are those of the last `bulkdl mirror`.
    """
    confirm_rate(call.settings, yes=yes)
    choice = choose_archive_of(mirror, call.archive)
    if choice is not None:
        choice = consenting(choice, mirror, yes=yes)
    options = {**call.options, "given": given_settings(), "archive": choice}
    return run_verb(
        lambda sink, stop: resume_async(mirror, **options, sink=sink, stop=stop),
        call.output,
        when_interrupted=interrupted(way_on(str(mirror))),
        prepare=lambda: prepared_process(options["archive"], call.settings),
    )
