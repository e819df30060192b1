"""`bulkdl push`: send what a mirror holds to a DICOMweb archive."""

from pathlib import Path

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import VerbCall, fetching, mirror_argument, running, target_options
from bulkdl.cli.runner import run_verb
from bulkdl.cli.sections import command
from bulkdl.model import formatting
from bulkdl.model.reports.phrases import interrupted
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.push import push_async

_SENDING = ("concurrency", "rate_limit_bytes", "max_attempts", "timeout_seconds", "give_up_after_seconds")


@command(
    "bulkdl push rider --to dicomweb+http://localhost:8042/dicom-web",
    "bulkdl push rider --to pacs --modality CT --username alice",
)
@mirror_argument
@running(push_async, fetching(FetchSettings, *_SENDING), archive=target_options)
def push(call: VerbCall, mirror: Path) -> int:
    """Send what the mirror at DIR holds to a DICOMweb archive (STOW-RS).

    Each file is compared with the journal while it is sent. What the archive confirms is recorded: run again, it sends
    only what is new or has changed. Files that are not DICOM, such as slides, are left out. No file leaves the mirror.

    --username sends a login as Basic, --api-key a token as Bearer.
    """
    choice = choose_archive(call.archive)
    again = formatting.command("push", str(mirror), "--to", call.archive.name)
    return run_verb(
        lambda sink, stop: push_async(mirror, choice, **call.options, sink=sink, stop=stop),
        call.output,
        when_interrupted=interrupted(f"to continue: {again}"),
    )
