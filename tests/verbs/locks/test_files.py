"""Locks are recognised and read from files and from memory; a mirror keeps whole copies of them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import DiskError, ManifestError
from bulkdl.verbs.locks.files import is_lock, keep_locks, open_lines, open_lock
from bulkdl.verbs.manifests.files import new_manifest_file
from bulkdl.verbs.mirrors.folders import kept_locks

SAMPLE = Path(__file__).parents[3] / "manifests" / "cohort.lock"


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    with new_manifest_file(tmp_path / "cohort.lock.zst") as file:
        report = bulkdl.manifest_convert(SAMPLE, file, format="lock")
    assert (report.format, report.series) == ("lock", 3)
    return tmp_path / "cohort.lock.zst"


def test_a_lock_is_recognised_in_every_form(compressed: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1.2.3\n")
    marked = b"\xef\xbb\xbf" + SAMPLE.read_bytes()  # as some editors write UTF-8
    for lock in (SAMPLE, compressed, str(SAMPLE), SAMPLE.read_bytes(), compressed.read_bytes(), marked):
        assert is_lock(lock)
    with open_lock(marked) as (head, groups), open_lock(SAMPLE) as (plain_head, plain_groups):
        assert (head, list(groups)) == (plain_head, list(plain_groups))
    for other in (tmp_path / "a.txt", b"", b"\x28\xb5\x2f\xfd rest"):
        assert not is_lock(other)
    with pytest.raises(ManifestError, match="cannot be read"):
        is_lock(tmp_path / "missing.lock")


def test_a_compressed_lock_is_half_as_large_and_says_the_same(compressed: Path) -> None:
    assert compressed.stat().st_size < 0.6 * SAMPLE.stat().st_size
    with open_lock(compressed) as (head, groups), open_lock(SAMPLE) as (plain_head, plain_groups):
        assert (head, list(groups)) == (plain_head, list(plain_groups))
    assert bulkdl.manifest_diff(compressed, SAMPLE).is_same
    with open_lines(compressed) as lines:
        assert "".join(lines) == SAMPLE.read_text()


def test_a_pipe_is_not_read_to_recognise_a_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writing = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(SAMPLE.read_bytes(),))
    writing.start()
    report = bulkdl.manifest_show(tmp_path / "pipe")
    writing.join()
    assert (report.format, report.series) == ("lock", 3)


def test_what_the_reader_of_a_lock_raises_is_not_blamed_on_the_file() -> None:
    with pytest.raises(BrokenPipeError), open_lines(SAMPLE):
        raise BrokenPipeError


def test_a_mirror_keeps_copies_of_locks_whole_or_not_at_all(compressed: Path, tmp_path: Path) -> None:
    root = tmp_path / "m"
    (root / ".bulkdl").mkdir(parents=True)
    (kept,) = keep_locks(root, [str(compressed)], private=False)
    assert (kept.read_bytes(), kept_locks(root)) == (compressed.read_bytes(), (kept,))
    assert keep_locks(root, [SAMPLE.read_bytes()], private=False) == (kept,)
    assert kept.read_bytes() == SAMPLE.read_bytes()
    kept.unlink()
    kept.with_suffix(".partial").mkdir()
    with pytest.raises(DiskError):
        keep_locks(root, [str(SAMPLE)], private=False)
    assert kept_locks(root) == ()
