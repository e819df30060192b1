"""Complete the names of Collections in a shell, from the last answers of the archive that the command line names.

A shell waits for this at each TAB, so nothing is asked and little is imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import platformdirs

from bulkdl.model.access import DEFAULT_ARCHIVE
from bulkdl.model.text import folded

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_data_sets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of Collections that begin with `incomplete`, in any case and with `-`, `_` and blanks alike.

    Where none does, the shell completes files, because a data set may be a manifest. Blanks become `-`, which shells
    need not quote.
    """
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - a shell asks for completions only

    from bulkdl.verbs.data_sets.answers import known_names  # noqa: PLC0415 - the same

    archive = str(ctx.params.get("archive") or os.environ.get("BULKDL_ARCHIVE") or DEFAULT_ARCHIVE)
    known = known_names(platformdirs.user_cache_path("bulkdl"), archive)
    begun = folded(incomplete)
    found = [CompletionItem("-".join(name.split())) for name in known if folded(name).startswith(begun)]
    is_file = not found and isinstance(param, click.Argument)
    return [CompletionItem(incomplete, type="file")] if is_file else found
