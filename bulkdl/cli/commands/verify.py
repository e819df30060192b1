"""`bulkdl verify`: compare a mirror with its journal, and repair it on request."""

import asyncio
from pathlib import Path

from bulkdl.cli.credentials import choose_archive_of
from bulkdl.cli.options import VerbCall, fetch_options, given_settings, mirror_argument, running
from bulkdl.cli.runner import confirm_rate, consenting, run_verb, yes_option
from bulkdl.cli.sections import command
from bulkdl.errors import Interrupted
from bulkdl.model import formatting
from bulkdl.model.events import Sink
from bulkdl.model.reports.verify import VerifyReport
from bulkdl.verbs.verify import verify_async


@command(
    "bulkdl verify rider",
    "bulkdl verify rider --quick",
    "bulkdl verify rider --repair --remote",
    "bulkdl verify copy --against rider.lock",
)
@mirror_argument
@running(verify_async, yes_option, fetch_options)
def verify(call: VerbCall, mirror: Path, *, yes: bool) -> int:
    """Compare every file of the mirror at DIR with its journal: missing, truncated, altered, foreign.

    A verification that was interrupted within the last week continues where it stopped.

    --against compares any folder, also one that bulkdl did not make, with a lock file.

    --repair and --remote use the archive of the mirror's last run, unless --archive names another one that has the same
    data. Fetching options that are not given are those of the last `bulkdl mirror`.
    """
    confirm_rate(call.settings, yes=yes)
    archive = choose_archive_of(mirror, call.archive) if call.options.get("against") is None else None
    if archive is not None and call.options.get("repair"):
        archive = consenting(archive, mirror, yes=yes)
    options = {**call.options, "given": given_settings(), "archive": archive}

    async def verify_whole(sink: Sink, stop: asyncio.Event) -> VerifyReport:
        report = await verify_async(mirror, **options, sink=sink, stop=stop)
        if stop.is_set() and report.repair is None:
            raise Interrupted("a verification that was interrupted covers only a part")
        return report

    flags = (f"--{name}" for name in ("quick", "repair", "remote") if options.get(name))
    again = formatting.command("verify", *flags, str(mirror))
    return run_verb(
        verify_whole, call.output, when_interrupted=f"interrupted before all files were verified; to continue: {again}"
    )
