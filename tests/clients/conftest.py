"""A running demonstration archive, and a cache of it, for public clients, which run in separate environments.

bulkdl is not installed there; the environment variable BULKDL contains its command.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", params=["archive", "cache"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base address of the NBIA APIs, `…/nbia-api/services`: of the archive, and of a cache of its bucket."""
    words = (
        ["--demo"] if request.param == "archive" else ["--archive", "demo-idc", "--cache", tmp_path_factory.mktemp("c")]
    )
    command = [os.environ["BULKDL"], "serve", *words, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["url"].rstrip("/")
        finally:
            server.terminate()
