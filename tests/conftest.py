"""Fixtures for all tests: a cache that is not the user's, embedded archives, and a watch over the event loop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.blocking import WatchedLoop
from tests.support.commands import RunningArchive, serve

# The hundreds of commands that tests start load compiled modules, as they do for a user.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# On a busy machine one example may take long; the timeout of the test is enough.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_xdist_auto_num_workers() -> int:
    """Two processes for each core: many tests wait for archives that are slow on purpose."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for all commands of the session, so that the demonstration archive is made only once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def demo_archive(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    """`bulkdl serve --demo` for the whole session."""
    with serve("--demo", cache=cache, log=tmp_path_factory.mktemp("demo") / "access.jsonl") as archive:
        yield archive


_loops: list[WatchedLoop] = []


def _watched_loop() -> WatchedLoop:
    _loops.append(WatchedLoop())
    return _loops[-1]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], WatchedLoop]]:
    """Run every asynchronous test on a watched loop."""
    return {"watched": _watched_loop}


@pytest.fixture(autouse=True)
def _no_step_blocks() -> Iterator[None]:
    """Fail a test in which a step of the loop blocked."""
    _loops.clear()
    yield
    if blocked := [step for loop in _loops for step in loop.blocked]:
        pytest.fail("\n".join(["a step of the event loop blocked:", *blocked]))
