"""A running demonstration archive for public clients, which run in separate environments.

bulkdl is not installed there; the environment variable BULKDL contains its command.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def archive() -> Iterator[str]:
    """The base address of its NBIA APIs, `…/nbia-api/services`."""
    command = [os.environ["BULKDL"], "serve", "--demo", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["url"].rstrip("/")
        finally:
            server.terminate()
