from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.cli.commands.sync import when_interrupted


@pytest.mark.parametrize(
    ("dry_run", "prune", "said"),
    [
        (True, False, "interrupted; nothing was changed"),
        (False, False, "interrupted; what was finished is kept; to continue: bulkdl sync m"),
        (False, True, "interrupted; what was finished is kept; to continue: bulkdl sync m --prune"),
    ],
)
def test_says_what_an_interrupted_sync_has_done_and_how_to_continue(*, dry_run: bool, prune: bool, said: str) -> None:
    assert when_interrupted(Path("m"), dry_run=dry_run, prune=prune) == said
