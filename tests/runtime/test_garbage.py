from __future__ import annotations

import subprocess
import sys

COLLECTIONS = """
import gc
from bulkdl.runtime.garbage import collect_less_often
gc.collect()
collect_less_often()
before = gc.get_stats()[0]["collections"]
kept = [[] for _ in range(9_000)]
print(gc.get_stats()[0]["collections"] - before)
"""


def test_thousands_of_objects_are_made_without_a_search() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTIONS], check=True, capture_output=True, text=True)
    assert int(done.stdout) == 0
