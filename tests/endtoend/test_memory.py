"""Memory does not grow with the size of the mirror. The short form; `tests.stress.memory` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests.stress.memory import mirror_and_watch

MOST_BYTES = 200_000_000
NOISE_BYTES = 15_000_000


def test_a_larger_mirror_needs_no_more_memory(tmp_path: Path) -> None:
    small = mirror_and_watch(tmp_path / "small", 1_000, "--workers", "2")
    large = mirror_and_watch(tmp_path / "large", 5_000, "--workers", "2")
    assert large < MOST_BYTES
    assert large < small + NOISE_BYTES
