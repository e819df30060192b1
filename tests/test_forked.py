"""A forked command does what one does that is started by a new Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import BULKDL, environment, process_of, with_site
from tests.support.forked import AsyncForked, Forked, can_fork
from tests.support.terminals import run_on_terminal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are forked on Linux alone")


@pytest.mark.parametrize(
    "words", [("--version",), ("status", "missing"), ("plan", "--everything")], ids=["exit 0", "exit 2", "environment"]
)
def test_it_says_the_same_and_ends_with_the_same_code(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = {**environment(tmp_path), "BULKDL_ARCHIVE": "nowhere"}
    new = subprocess.run([*BULKDL, *words], env=told, capture_output=True, text=True, check=False)
    with process_of(words, told) as fork:
        assert isinstance(fork, Forked)
        assert fork.communicate() == (new.stdout, new.stderr)
        assert fork.returncode == new.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_a_process_in_a_separate_session(number: int, tmp_path: Path) -> None:
    with process_of(("serve", str(tmp_path), "--port", "0"), environment(tmp_path)) as fork:
        assert fork.stdout is not None
        assert "http://" in fork.stdout.readline()
        assert os.getsid(fork.pid) == fork.pid
        assert fork.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            fork.communicate(timeout=0)
        fork.send_signal(number)
        fork.communicate()
        assert fork.returncode == (-number if number == signal.SIGKILL else 0)


async def test_it_does_the_same_in_an_event_loop(tmp_path: Path) -> None:
    fork = await AsyncForked.start("bulkdl", ("serve", tmp_path, "--port", "0"), environment(tmp_path))
    assert b"http://" in await fork.stdout.readline()
    assert fork.returncode is None
    fork.kill()
    await fork.communicate()
    assert await fork.wait() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        fork.kill()


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("mirror", "--archive", "demo"), {}),
        (("serve", "--demo"), {}),
        (("status",), {"PYTHONPATH": "elsewhere"}),
        (("status",), {"LC_ALL": "C"}),
        (("status",), with_site(MISSING_MODULES="uvloop")),
    ],
    ids=["numpy to mirror", "numpy to serve", "PYTHONPATH", "a locale", "modules that are not installed"],
)
def test_what_a_fork_would_do_otherwise_is_started_by_a_new_python(
    words: tuple[str, ...], variables: dict[str, str]
) -> None:
    assert not can_fork(words, {**os.environ, **variables})


@pytest.mark.parametrize("words", [["--help"], ["status", "missing"]], ids=["exit 0", "exit 2"])
def test_a_fork_shows_on_a_terminal_what_a_new_python_does(words: list[str], tmp_path: Path) -> None:
    new = {"PYTHONHASHSEED": "0"}
    assert not can_fork(words, {**os.environ, **new})
    screens = [run_on_terminal(words, environment={**environment(tmp_path), **more}) for more in ({}, new)]
    assert screens[0] == screens[1]
    assert "bulkdl" in screens[0][1]


def test_a_fork_serves_phantoms_that_a_cache_has(demo_cache: Path, tmp_path: Path) -> None:
    words = ("query", "--archive", "demo", "getSeries", "--format", "json")
    told = environment(demo_cache)
    new = subprocess.run([*BULKDL, *words], env=told, capture_output=True, text=True, check=False)
    with process_of(words, told) as fork:
        assert isinstance(fork, Forked)
        assert (new.returncode, *fork.communicate()) == (0, new.stdout, new.stderr)
    assert "BULKDL-PHANTOM" in new.stdout
    assert not can_fork(words, environment(tmp_path))


def test_a_fork_is_prepared_as_a_new_python_is(tmp_path: Path) -> None:
    with process_of(
        ("--version",), {**environment(tmp_path), **with_site(FAULT_POINT="none:1", FAULT_POINT_IN="bulkdl")}
    ) as fork:
        assert isinstance(fork, Forked)
        assert fork.communicate() == ("", "no such point: none\n")
        assert fork.returncode == 1


def test_the_server_imports_no_numpy_and_has_one_thread() -> None:
    """A fork has one thread, and what other threads of the server held would be held for ever."""
    script = (
        "import sys, threading; from tests.support.fork_server import load; load(); "
        "from pathlib import Path; assert len(list(Path('/proc/self/task').iterdir())) == 1; "
        "assert not {'numpy', 'requests'} & sys.modules.keys(); import numpy"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[1], check=False).returncode == 0
