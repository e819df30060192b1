"""Errors are sent between processes: no process waits forever for one that cannot be unpickled."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.attacks.watching import Watcher, assert_orderly

PROGRAM = """
import multiprocessing, sys
from bulkdl import errors

def fail():
    raise errors.ManifestError("line is wrong", source="list.tcia", line=3)

if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        try:
            pool.apply_async(fail).get(timeout=20)
        except multiprocessing.TimeoutError:
            print("waits for ever")
        except errors.BulkdlError as error:
            print(type(error).__name__, error.code)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
async def test_an_error_in_a_pool_reaches_who_waits_for_it(method: str, bulkdl: Watcher, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ended = await bulkdl.run(method, command=(sys.executable, str(program)), honest_processes=3)
    assert_orderly(ended, 0)
    assert ended.out.split()[0] == "ManifestError"
