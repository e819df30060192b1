"""Fixtures for all tests: a cache that is not the user's, embedded archives, and a watch over the event loop."""

from __future__ import annotations

import gc
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that uses the demonstration archive generates the phantoms, while others wait for them."""
    for item in items:
        if "demo_folder" in getattr(item, "fixturenames", ()) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))


gc.disable()  # until all tests are collected


def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests, which live to the end, and let it look less often.

    With Python's own thresholds it takes a tenth of the time of the tests. Commands keep those, as other processes.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for all commands of the session. All processes of pytest-xdist share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def old_phantoms(cache: Path) -> Path:
    """Where phantoms of an older generator are until new ones are made."""
    return cache / "bulkdl" / "phantoms-0123456789abcdef"


@pytest.fixture(scope="session")
def demo_folder(cache: Path, old_phantoms: Path) -> Path:
    """The demonstration archive: its phantoms are generated once, by the first process that needs them."""
    import fcntl  # noqa: PLC0415 - not on Windows, where no test asks for this

    from bulkdl.server.demo.catalogue import demo_catalogue  # noqa: PLC0415 - as above

    folder = old_phantoms.parent
    with (cache / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir() or not any(folder.glob("phantoms-*")):
            old_phantoms.mkdir(parents=True)
        demo_catalogue(folder)[0].close()
    return folder


@pytest.fixture(scope="session")
def demo_cache(demo_folder: Path) -> Path:
    """The cache folder for commands, with the demonstration archive in it."""
    return demo_folder.parent


@pytest.fixture(scope="session")
def demo_archive(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    """`bulkdl serve --demo` for the whole session."""
    with serve("--demo", cache=demo_cache, log=tmp_path_factory.mktemp("demo") / "access.jsonl") as archive:
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
