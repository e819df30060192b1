"""A running demonstration archive, for public clients in environments of their own.

bulkdl is not installed there: the command is named by the environment variable BULKDL.
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
