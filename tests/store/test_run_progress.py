"""The progress of a run can be read from elsewhere while it works, and not afterwards."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bulkdl.runtime.disk import PROGRESS
from bulkdl.store.run_progress import forget_progress, read_progress, save_progress
from tests.support.clocks import progress


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / PROGRESS).parent.mkdir()
    return tmp_path


def test_what_is_saved_is_read_until_it_is_forgotten(root: Path) -> None:
    save_progress(root, progress(5, left=100), private=True)
    assert read_progress(root) == progress(5, left=100)
    assert (root / PROGRESS).stat().st_mode & 0o777 == 0o600
    forget_progress(root)
    assert read_progress(root) is None


def test_the_progress_of_a_dead_run_is_not_shown(root: Path) -> None:
    save_progress(root, progress(5), private=False)
    assert read_progress(root, lambda: time.time() + 60) is None


@pytest.mark.parametrize(
    "change",
    [{"time": "now"}, {"limit": "many"}, {"further": 1}, {"at_work": 5}],
    ids=lambda change: next(iter(change)),
)
def test_a_file_of_another_version_is_not_progress(root: Path, change: dict[str, object]) -> None:
    save_progress(root, progress(5), private=False)
    content = json.loads((root / PROGRESS).read_bytes())
    (root / PROGRESS).write_text(json.dumps(content | change))
    assert read_progress(root) is None
