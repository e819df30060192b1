"""A file that the journal calls held is lost when it is missing, is not a file, or has another size."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkdl.fetch.lost_files import find_lost
from bulkdl.journal.journal import Journal
from bulkdl.model.ids import SopInstanceUid
from bulkdl.store.files import MirrorFiles
from tests.support.held_mirrors import make_mirror
from tests.support.journals import begin


def lost_in(root: Path, *, is_stopped: Callable[[], bool] = lambda: False) -> dict[SopInstanceUid, str]:
    files = MirrorFiles(root)
    with Journal.create_or_open(files.journal_path) as journal:
        run = begin(journal)
        journal.end_resolving(run)
        found = find_lost(files, journal, begin(journal, None), is_stopped)
        return {key.sop_uid: path for lost in found for key, path in lost.items()}


def quarantined(root: Path) -> int:
    return len(list((root / ".bulkdl" / "quarantine").glob("*.dcm")))


def nothing(_: Path) -> None:
    """The file is whole."""


def replace_by_a_link(path: Path) -> None:
    target = path.rename(path.with_name("elsewhere"))
    path.symlink_to(target)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HARM: dict[str, tuple[Callable[[Path], object], int, int]] = {  # lost, quarantined
    "whole": (nothing, 0, 0),
    "missing": (Path.unlink, 1, 0),
    "empty": (lambda path: path.write_bytes(b""), 1, 1),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1]), 1, 1),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), 1, 1),
    "a link to the file": (replace_by_a_link, 1, 1),
    "a folder": (replace_by_a_folder, 1, 1),
    "its folder is gone": (lambda path: path.parent.rename(path.parent.with_name("moved")), 3, 0),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_does_not_lie_there_with_its_size_is_lost_and_out_of_the_way(harm: str, tmp_path: Path) -> None:
    do, lost, moved = HARM[harm]
    paths = make_mirror(tmp_path, series=3, per_series=3)
    do(paths[4])
    assert (len(lost_in(tmp_path)), quarantined(tmp_path)) == (lost, moved)
    if lost == 1:
        assert list(lost_in(tmp_path).values()) == [paths[4].relative_to(tmp_path).as_posix()]
        assert not os.path.lexists(paths[4])


def test_a_stopped_search_ends(tmp_path: Path) -> None:
    make_mirror(tmp_path, series=2, per_series=1)[0].unlink()
    assert lost_in(tmp_path, is_stopped=lambda: True) == {}
