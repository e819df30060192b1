"""`bulkdl relayout`: rename the files of a mirror into another layout."""

from pathlib import Path
from typing import Any

from bulkdl.cli.options import OutputOptions, mirror_argument, output_options, verb_options
from bulkdl.cli.runner import run_verb
from bulkdl.cli.sections import command
from bulkdl.verbs.relayout import relayout_async


@command(
    "bulkdl relayout rider --layout nbia-descriptive",
    "bulkdl relayout rider --layout '{PatientID}/{StudyDate}/{Modality}' --dry-run",
    "bulkdl relayout rider --layout idc --as-view rider-idc",
)
@mirror_argument
@verb_options(relayout_async)
@output_options
def relayout(*, mirror: Path, options: dict[str, Any], output: OutputOptions) -> int:
    """Rename the files of the mirror at DIR into another layout; see bulkdl help layouts.

    Nothing is downloaded or copied, and nothing is overwritten. If it is interrupted, run it again; any other command
    that writes the mirror finishes it, too. --as-view makes a tree of hard links instead, which takes no space.
    """
    return run_verb(
        lambda sink, stop: relayout_async(mirror, **options, sink=sink, stop=stop),
        output,
        when_interrupted=f"interrupted; nothing is lost; to finish: bulkdl relayout {mirror}",
    )
