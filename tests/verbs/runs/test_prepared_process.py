"""A process of bulkdl is prepared for a run, and has a process for a second worker where one may be used."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.forked_process import take_forked
from bulkdl.verbs.runs.prepared_process import prepared_process
name, workers, cores = sys.argv[1:]
os.sched_getaffinity = lambda _: set(range(int(cores)))
choice = ArchiveChoice(cache=Path("c"), name=name) if name else None
with prepared_process(choice, FetchSettings(workers=int(workers) or None)):
    print(sys.modules.get("numpy", ...) is None, asyncio.run(take_forked()) is not None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
@pytest.mark.parametrize(
    ("name", "workers", "cores", "expected"),
    [
        ("tcia", 0, 2, "True True"),
        ("", 2, 1, "True False"),
        ("tcia", 1, 2, "True False"),
        ("demo", 0, 2, "False False"),
    ],
    ids=["as it is", "one core", "one worker", "demonstration"],
)
def test_a_process_imports_no_numpy_and_forks_what_may_be_used(
    name: str, workers: int, cores: int, expected: str
) -> None:
    words = [sys.executable, "-c", PROGRAM, name, str(workers), str(cores)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
