"""Kills and mixed faults with every transport, with one worker and two, on asyncio's loop and on uvloop's.

Not all combinations: every pair of values is in one of the rows.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bulkdl.model.settings import Transport
from tests.stress.soup import soup
from tests.stress.torture import Plan, torture
from tests.support.commands import RunningArchive, loops_by_uvloop, run

uvloop = pytest.importorskip("uvloop", reason="uvloop is not made for this system")

# The last is the seed: each row has other kills.
ROWS = pytest.mark.parametrize(
    ("transport", "workers", "by_uvloop", "seed"),
    [
        (Transport.SINGLE, 1, True, 1),
        (Transport.SINGLE, 2, False, 2),
        (Transport.ZIP, 1, False, 3),
        (Transport.ZIP, 2, True, 4),
        (Transport.AUTO, 1, False, 5),
        (Transport.AUTO, 2, True, 6),
    ],
)


@pytest.mark.timeout(180)
@ROWS
async def test_kills_leave_no_wrong_file(
    tmp_path: Path, transport: Transport, workers: int, seed: int, *, by_uvloop: bool
) -> None:
    plan = Plan(kills=3, seed=seed, transports=[transport], workers=[str(workers)], by_uvloop=by_uvloop)
    found = await torture(tmp_path, plan)
    assert found.wrong == []
    assert found.object_requests <= found.allowed
    assert workers == 1 or any(point.endswith(":worker") for point in found.by_point)


@pytest.mark.timeout(180)
@ROWS
def test_a_run_with_mixed_faults_ends_correctly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: Transport, workers: int, seed: int, *, by_uvloop: bool
) -> None:
    if by_uvloop:
        for name, value in loops_by_uvloop().items():
            monkeypatch.setenv(name, value)
    work = soup(
        tmp_path, instances_wanted=200, per_series=5, share=0.2, transport=transport, seed=seed, workers=workers
    )
    found = uvloop.run(work) if by_uvloop else asyncio.run(work)
    assert found.wrong == ()
    assert found.served_wrong > 5


def test_the_command_and_its_workers_use_uvloop_if_requested(
    tmp_path: Path, cache: Path, demo_archive: RunningArchive
) -> None:
    notes = tmp_path / "loops"
    words = ("mirror", "--archive", demo_archive.url, "--collection", "BULKDL-PHANTOM", "--to", tmp_path / "mirror")
    options = ("--workers", "2", "--progress", "none", "--yes")
    done = run(*words, *options, cache=cache, more={**loops_by_uvloop(), "LOOPS_NOTED_IN": str(notes)})
    assert (done.code, done.err) == (0, "")
    assert set(notes.read_text().splitlines()) == {"bulkdl uvloop", "bulkdl.fetch.worker_main uvloop"}
