from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.runtime.disk import VERIFY_POSITION
from bulkdl.store.state_files import forget_state, load_state, save_state


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / VERIFY_POSITION).parent.mkdir()
    return tmp_path


def test_the_last_state_is_kept_until_it_is_forgotten(root: Path) -> None:
    for number in (1, 2):
        save_state(root, VERIFY_POSITION, {"after": [number, "1.2"]})
    assert load_state(root, VERIFY_POSITION) == {"after": [2, "1.2"]}
    assert [path.name for path in (root / ".bulkdl").iterdir()] == ["verify.json"]
    for _ in range(2):
        forget_state(root, VERIFY_POSITION)
        assert load_state(root, VERIFY_POSITION) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000],
    ids=["empty", "cut", "list", "null", "not UTF-8", "too deep"],
)
def test_a_file_that_cannot_be_read_is_not_a_state(root: Path, content: bytes) -> None:
    (root / VERIFY_POSITION).write_bytes(content)
    assert load_state(root, VERIFY_POSITION) is None


def test_a_mirror_that_cannot_be_written_costs_the_state_alone(tmp_path: Path) -> None:
    save_state(tmp_path, VERIFY_POSITION, {"after": [1, "1.2"]})  # without a folder for it
    assert load_state(tmp_path, VERIFY_POSITION) is None
    assert list(tmp_path.iterdir()) == []
