"""Run the command in separate processes, as a user does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from tests.support.fork_server import SITE
from tests.support.forked import AsyncForked, Forked, can_fork

BULKDL = (sys.executable, "-m", "bulkdl")
SCRIPT = (str(Path(sys.executable).with_name("bulkdl")),)  # has another sys.path than `python -m`
Process: TypeAlias = subprocess.Popen[str] | Forked
AsyncProcess: TypeAlias = asyncio.subprocess.Process | AsyncForked
OBJECTS = frozenset({"getSingleImage", "getImage", "getImageWithMD5Hash"})


def environment(cache: Path) -> dict[str, str]:
    """An environment in which a command does not use the cache and configuration of the user."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BULKDL_")}
    return {**kept, "XDG_CACHE_HOME": str(cache), "XDG_CONFIG_HOME": str(cache / "config")}


def with_site(**switches: str) -> dict[str, str]:
    """Variables that make `site/sitecustomize.py` prepare a command and the workers it starts."""
    paths = [SITE, str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **switches}


def loops_by_uvloop() -> dict[str, str]:
    """Variables that make a command and the workers it starts use uvloop."""
    return with_site(LOOPS_BY="uvloop")


def requests_by_aiohttp() -> dict[str, str]:
    """Variables that make a command and the workers it starts send every request with aiohttp."""
    return with_site(SUITE_TRANSPORT="aiohttp")


@dataclass(frozen=True)
class Asked:
    """One request in the log of the embedded archive."""

    endpoint: str
    query: dict[str, list[str]]
    status: int


@dataclass(frozen=True)
class RunningArchive:
    """An embedded archive in a separate process. Its log is read from `log_start` on."""

    url: str
    log: Path
    log_start: int = 0

    def from_now(self) -> RunningArchive:
        """The same archive, without the requests so far."""
        return replace(self, log_start=self.log.stat().st_size if self.log.exists() else 0)

    def requests(self) -> list[Asked]:
        """All requests so far."""
        lines = self.log.read_bytes()[self.log_start :].splitlines() if self.log.exists() else []
        found = []
        for line in lines:
            entry = json.loads(line)
            parts = urlsplit(entry["path"])
            found.append(Asked(parts.path.rpartition("/")[2], parse_qs(parts.query), entry["status"]))
        return found

    def object_requests(self) -> list[Asked]:
        """The requests for instances and zips, and for objects of the bucket."""
        return [each for each in self.requests() if each.endpoint in OBJECTS or each.endpoint.endswith(".dcm")]

    def options_of(self, form: str) -> tuple[str, ...]:
        """What a command needs to use it through NBIA's API, or with the `form` idc as a bucket with an index."""
        if form != "idc":
            return ("--archive", self.url)
        root = self.url.partition("/nbia-api")[0]
        return ("--archive", f"idc+{root}", "--idc-index", f"{root}/bulkdl/index/idc_index.parquet")


@contextmanager
def serve(*arguments: str | Path, cache: Path, log: Path) -> Iterator[RunningArchive]:
    """Run `bulkdl serve` on a free port."""
    with start(["serve", *arguments, "--port", "0", "--json", "--access-log", log], cache=cache) as process:
        assert process.stdout is not None
        try:
            yield RunningArchive(json.loads(process.stdout.readline())["url"], log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


@dataclass(frozen=True)
class Finished:
    """The result of a command."""

    code: int
    out: str
    err: str

    def document(self) -> dict[str, Any]:
        """The JSON document on standard output."""
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed


def run(
    *arguments: str | Path, cache: Path, stdin: str | None = None, more: Mapping[str, str] | None = None
) -> Finished:
    """Run `bulkdl` until it exits, with `more` in its environment."""
    environment_of_command = {**environment(cache), **(more or {})}
    if stdin is not None:
        words = [*BULKDL, *map(str, arguments)]
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, env=environment_of_command, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)
    with process_of(arguments, environment_of_command) as process:
        out, err = process.communicate()
    return Finished(process.wait(), out, err)


def process_of(arguments: Sequence[str | Path], environment: Mapping[str, str]) -> Process:
    """Start `bulkdl` in a new session with pipes for its output: as a fork, where that is the same as a new Python."""
    if can_fork(arguments, environment):
        return Forked("bulkdl", arguments, environment)
    return subprocess.Popen(
        [*BULKDL, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


async def async_process_of(
    arguments: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    module: str = "bulkdl",
    command: Sequence[str] = (),
    cwd: Path | None = None,
) -> AsyncProcess:
    """The same for a running event loop, and for another `module`. With a `command` or a folder it is a new Python."""
    if not command and cwd is None and can_fork(arguments, environment):
        return await AsyncForked.start(module, arguments, environment)
    if not command:
        command = SCRIPT if module == "bulkdl" else (sys.executable, "-m", module)
    return await asyncio.create_subprocess_exec(
        *command,
        *map(str, arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment,
        start_new_session=True,
    )


@contextmanager
def start(arguments: Sequence[str | Path], *, cache: Path) -> Iterator[Process]:
    """Start `bulkdl` in a new session, to be killed or interrupted. It is killed at the end of the block."""
    with process_of(arguments, environment(cache)) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
