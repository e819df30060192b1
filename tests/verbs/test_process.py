"""A process of the command does without numpy, unless it runs the demonstration archive."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import importlib.util, sys
from pathlib import Path
from bulkdl.model.access import ArchiveChoice
from bulkdl.verbs.process import prepare_process
name = sys.argv[1]
prepare_process(ArchiveChoice(cache=Path("c"), name=name) if name else None)
print("numpy" in sys.modules and sys.modules["numpy"] is None)
"""


@pytest.mark.parametrize(("name", "expected"), [("tcia", "True"), ("", "True"), ("demo", "False")])
def test_numpy_counts_as_not_installed(name: str, expected: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, name], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
