"""A running demonstration archive, and a cache of it, for public clients, which run in separate environments.

bulkdl is not installed there; the environment variable BULKDL contains its command.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def serving(*words: object) -> Iterator[str]:
    """`bulkdl serve` with these words on a free port, while the block runs: the base address of the NBIA APIs."""
    command = [os.environ["BULKDL"], "serve", *map(str, words), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["url"].rstrip("/")
        finally:
            server.terminate()


@pytest.fixture(scope="session", params=["archive", "cache"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base address of the NBIA APIs, `…/nbia-api/services`: of the archive, and of a cache of its bucket."""
    words = (
        ["--demo"] if request.param == "archive" else ["--archive", "demo-idc", "--cache", tmp_path_factory.mktemp("c")]
    )
    with serving(*words) as url:
        yield url


@pytest.fixture(scope="session")
def logged_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The base address of a cache of a bucket, and a file with one line for each request to the bucket."""
    log = tmp_path_factory.mktemp("log") / "access.jsonl"
    with serving("--demo", "--access-log", log) as services:
        bucket = services.removesuffix("/nbia-api/services")
        archive = ["--archive", f"idc+{bucket}", "--idc-index", f"{bucket}/bulkdl/index/idc_index.parquet"]
        with serving(*archive, "--cache", tmp_path_factory.mktemp("cache")) as url:
            yield url, log


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[str]:
    """The base address of an archive that takes what clients store, and has nothing yet."""
    with serving(tmp_path / "received", "--accept-store") as url:
        yield url
