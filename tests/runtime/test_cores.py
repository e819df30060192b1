from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bulkdl.runtime.cores import usable_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux restricts the cores of a process")


def test_only_the_cores_that_the_process_may_use_count(tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    assert usable_cores(quota=tmp_path / "missing") == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores(quota=tmp_path / "missing") == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("max 100000\n", 64),
        ("100000 100000\n", 1),
        ("150000 100000\n", 2),
        ("1000 100000\n", 1),
        ("9900000 100000\n", 64),
        ("0 0\n", 64),
        ("", 64),
    ],
)
def test_a_quota_of_processor_time_counts_as_cores(
    text: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(quota=tmp_path / "cpu.max") == most
