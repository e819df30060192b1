"""Kills and a soup of faults with every transport, with one worker and two, on asyncio's loop and on uvloop's.

Not each with each: every two of them meet in one of the rows.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bulkdl.model.settings import Transport
from tests.support.commands import environment, loops_by_uvloop
from tests.support.soup import soup
from tests.support.torture import torture

if TYPE_CHECKING:
    from pathlib import Path

uvloop = pytest.importorskip("uvloop", reason="uvloop is not made for this system")

ROWS = pytest.mark.parametrize(
    ("transport", "workers", "by_uvloop"),
    [
        (Transport.SINGLE, 1, True),
        (Transport.SINGLE, 2, False),
        (Transport.ZIP, 1, False),
        (Transport.ZIP, 2, True),
        (Transport.AUTO, 1, False),
        (Transport.AUTO, 2, True),
    ],
)


@pytest.mark.timeout(180)
@ROWS
def test_kills_leave_nothing_wrong(tmp_path: Path, transport: Transport, workers: int, *, by_uvloop: bool) -> None:
    found = torture(
        tmp_path, kills=4, seed=20_261_125, transports=[transport], workers=[str(workers)], by_uvloop=by_uvloop
    )
    assert found.wrong == []
    assert found.object_requests <= found.allowed


@pytest.mark.timeout(180)
@ROWS
def test_a_soup_of_faults_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: Transport, workers: int, *, by_uvloop: bool
) -> None:
    if by_uvloop:
        for name, value in loops_by_uvloop().items():
            monkeypatch.setenv(name, value)
    work = soup(tmp_path, instances_wanted=200, share=0.2, transport=transport, seed=20_261_125, workers=workers)
    found = uvloop.run(work) if by_uvloop else asyncio.run(work)
    assert found.wrong == ()
    assert found.served_wrong > 5


def test_the_loops_of_these_tests_are_those_that_they_name(tmp_path: Path) -> None:
    words = "import asyncio; print(type(asyncio.new_event_loop()).__module__)"
    for more, module in (({}, "asyncio.unix_events"), (loops_by_uvloop(), "uvloop")):
        env = environment(tmp_path) | more
        found = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True, env=env)
        assert found.stdout.strip() == module, os.fsdecode(sys.executable)
