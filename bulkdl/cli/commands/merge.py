"""`bulkdl merge`: join mirrors that were made in shards."""

from pathlib import Path
from typing import Any

import click

from bulkdl.cli.options import OutputOptions, output_options, verb_options
from bulkdl.cli.runner import run_verb
from bulkdl.cli.sections import command
from bulkdl.verbs.merge import merge_async


@command("bulkdl merge shard-1 shard-2 shard-3 --to whole", "bulkdl merge shard-2 --to shard-1 --move")
@click.argument("mirrors", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@verb_options(merge_async)
@output_options
def merge(*, mirrors: tuple[Path, ...], options: dict[str, Any], output: OutputOptions) -> int:
    """Join the mirrors at DIR into one: their files, journals, runs and selections.

    Files become hard links, which take no space, or copies; with --move they are removed from the other mirrors. An
    instance of which two mirrors have different bytes is named, and nothing is overwritten. If it is interrupted, run
    it again.
    """
    return run_verb(
        lambda sink, stop: merge_async(*mirrors, **options, sink=sink, stop=stop),
        output,
        when_interrupted="interrupted; what was joined is kept; repeat the command to continue",
    )
