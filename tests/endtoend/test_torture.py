"""Kills inside commits, between renaming and journalling, and in recoveries. The short form of `make torture`."""

from __future__ import annotations

from pathlib import Path

from tests.stress.torture import Plan, torture


async def test_wherever_runs_die_no_wrong_file_is_visible_and_the_last_completes_the_mirror(
    tmp_path: Path,
) -> None:
    found = await torture(tmp_path, Plan(kills=8, seed=20_200_102))
    assert found.wrong == []
    assert found.object_requests <= found.allowed
