"""Kills and mixed faults with every transport, worker, loop and HTTP client, over TLS too.

Not all combinations: every pair of values is in one of the rows. `make matrix` runs more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest

from bulkdl.model.settings import Transport
from tests.stress.matrix import CELLS, PAIRS, Cell
from tests.stress.mixed_faults import run_with_mixed_faults
from tests.stress.torture import Plan, torture
from tests.support.commands import RunningArchive, loops_by_uvloop, requests_by_aiohttp, run
from tests.support.faults import over_tls
from tests.support.variants import by_aiohttp

uvloop = pytest.importorskip("uvloop", reason="uvloop is not made for this system")


class Way(NamedTuple):
    """How requests are sent."""

    by_uvloop: bool = False
    by_aiohttp: bool = False
    over_tls: bool = False


# The last is the seed: each row has other kills.
ROWS = pytest.mark.parametrize(
    ("transport", "workers", "way", "seed"),
    [
        (Transport.SINGLE, 1, Way(by_uvloop=True), 1),
        (Transport.SINGLE, 2, Way(by_aiohttp=True, over_tls=True), 2),
        (Transport.ZIP, 1, Way(over_tls=True), 3),
        (Transport.ZIP, 2, Way(by_uvloop=True, by_aiohttp=True), 4),
        (Transport.AUTO, 1, Way(by_aiohttp=True), 5),
        (Transport.AUTO, 2, Way(by_uvloop=True, over_tls=True), 6),
    ],
)


@ROWS
async def test_kills_leave_no_wrong_file(
    tmp_path: Path, transport: Transport, workers: int, way: Way, seed: int
) -> None:
    plan = Plan(kills=3, seed=seed, transports=[transport], workers=[str(workers)], **way._asdict())
    found = await torture(tmp_path, plan)
    assert found.wrong == []
    assert found.object_requests <= found.allowed
    assert workers == 1 or any(point.endswith(":worker") for point in found.by_point)


@ROWS
def test_a_run_with_mixed_faults_ends_correctly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: Transport, workers: int, way: Way, seed: int
) -> None:
    variables = {**(loops_by_uvloop() if way.by_uvloop else {}), **(requests_by_aiohttp() if way.by_aiohttp else {})}
    for name, value in variables.items():  # for the second worker
        monkeypatch.setenv(name, value)
    work = run_with_mixed_faults(
        tmp_path, instances_wanted=200, per_series=5, share=0.2, transport=transport, seed=seed, workers=workers
    )
    with by_aiohttp(way.by_aiohttp), over_tls(way.over_tls):
        found = uvloop.run(work) if way.by_uvloop else asyncio.run(work)
    assert found.wrong == ()
    assert found.served_wrong > 5


def test_every_two_values_of_the_matrix_meet_in_one_of_its_cells() -> None:
    def meetings(cells: Iterable[Cell]) -> set[tuple[tuple[str, object], ...]]:
        return {pair for cell in cells for pair in combinations(asdict(cell).items(), 2)}

    assert meetings(PAIRS) == meetings(CELLS)


def test_the_command_and_its_workers_use_uvloop_if_requested(
    tmp_path: Path, cache: Path, demo_archive: RunningArchive
) -> None:
    notes = tmp_path / "loops"
    words = ("mirror", "--archive", demo_archive.url, "--collection", "BULKDL-PHANTOM", "--to", tmp_path / "mirror")
    options = ("--workers", "2", "--progress", "none", "--yes")
    done = run(*words, *options, cache=cache, more={**loops_by_uvloop(), "LOOPS_NOTED_IN": str(notes)})
    assert (done.code, done.err) == (0, "")
    assert set(notes.read_text().splitlines()) == {"bulkdl uvloop", "bulkdl.fetch.worker_main uvloop"}
