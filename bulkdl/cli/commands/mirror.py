"""`bulkdl mirror`: download what is selected into a folder."""

from __future__ import annotations

from typing import Any, Final

import click

from bulkdl.cli.consent import confirm, confirm_rate, yes_option
from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    archive_options,
    fetch_options,
    output_options,
    selection_options,
    verb_options,
    words_refused,
)
from bulkdl.cli.runner import run_verb
from bulkdl.cli.sections import SectionedCommand
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.model.summaries import interrupted
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.process import prepare_process

_EXAMPLES: Final = (
    "bulkdl mirror --collection RIDER-Lung-CT --to rider",
    "bulkdl mirror --collection TCGA-GBM --modality MR --since 2024-01-01 --to gbm",
    "bulkdl mirror --manifest cohort.tcia --to cohort --validate pixels",
)


@click.command(cls=SectionedCommand, examples=_EXAMPLES)
@words_refused
@verb_options(mirror_async)
@yes_option
@selection_options
@fetch_options
@archive_options
@output_options
def mirror(
    *,
    options: dict[str, Any],
    yes: bool,
    selection: Selection,
    settings: FetchSettings,
    archive: ArchiveOptions,
    output: OutputOptions,
) -> int:
    """Download what is selected into the mirror at DIR.

    Run again with the same arguments, it continues where it stopped, and downloads only what is missing.
    """
    choice = choose_archive(archive)
    if selection.everything:
        confirm(f"Mirror the whole archive {archive.name} into {options['to']}?", yes=yes)
    confirm_rate(settings, yes=yes)
    prepare_process(choice)
    return run_verb(
        lambda sink, stop: mirror_async(selection, **options, archive=choice, settings=settings, sink=sink, stop=stop),
        output,
        when_interrupted=interrupted(str(options["to"])),
    )
