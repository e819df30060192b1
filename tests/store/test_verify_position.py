from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.runtime.disk import VERIFY_POSITION
from bulkdl.store.verify_position import forget_position, load_position, save_position


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / VERIFY_POSITION).parent.mkdir()
    return tmp_path


def test_the_last_position_is_kept_until_it_is_forgotten(root: Path) -> None:
    for number in (1, 2):
        save_position(root, {"after": [number, "1.2"]})
    assert load_position(root) == {"after": [2, "1.2"]}
    assert [path.name for path in (root / ".bulkdl").iterdir()] == ["verify.json"]
    for _ in range(2):
        forget_position(root)
        assert load_position(root) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000],
    ids=["empty", "cut", "list", "null", "not UTF-8", "too deep"],
)
def test_a_file_that_cannot_be_read_is_not_a_position(root: Path, content: bytes) -> None:
    (root / VERIFY_POSITION).write_bytes(content)
    assert load_position(root) is None


def test_a_mirror_that_cannot_be_written_costs_the_position_alone(tmp_path: Path) -> None:
    save_position(tmp_path, {"after": [1, "1.2"]})  # without a folder for it
    assert load_position(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
