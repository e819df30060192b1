"""A file that the archive has replaced is put aside, and never the new one that took its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance, Run
from bulkdl.model.records import InstanceKey
from bulkdl.verbs.mirrors.replaced_files import replace_files
from tests.support.journals import begin, filled, outcome


def nothing(_: Journal, __: Run, ___: InstanceKey) -> None:
    """Nothing happens between the look and the call."""


def owed(journal: Journal, run: Run, key: InstanceKey) -> None:
    """The file was missing: it is owed, and perhaps in place again without a record."""
    journal.owe(run, [key])


def downloaded(journal: Journal, run: Run, key: InstanceKey) -> None:
    """It is recorded, too."""
    journal.owe(run, [key])
    journal.record_outcomes(run, [outcome(0, 0)])


@pytest.mark.parametrize(("meanwhile", "count"), [(nothing, 3), (owed, 2), (downloaded, 2)])
def test_what_the_run_owes_or_has_downloaded_since_is_left_alone(
    tmp_path: Path, meanwhile: Callable[[Journal, Run, InstanceKey], None], count: int
) -> None:
    journal, aside = filled(tmp_path / "journal.sqlite", series=1, instances=3), list[HeldInstance]()
    held = journal.held(limit=9)
    run = begin(journal)
    meanwhile(journal, run, InstanceKey(held[0].series_uid, held[0].sop_uid))
    replaced = replace_files(journal, run, held, aside.append)
    assert replaced == aside == held[3 - count :]
    assert journal.counts(None).owed == (3 if meanwhile is not downloaded else 2)
