"""What `import bulkdl` costs, and what it names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bulkdl

HEAVY = ("aiohttp", "asyncio", "numpy", "pydicom", "sqlite3", "bulkdl.verbs", "bulkdl.errors")


def test_importing_bulkdl_imports_nothing_else() -> None:
    program = f"import sys, bulkdl; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", bulkdl.__all__)
def test_each_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(bulkdl, name)
    assert name == "__version__" or found.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="mirrour"):
        _ = bulkdl.mirrour


def test_the_blocking_and_the_async_verbs_are_all_listed() -> None:
    assert {
        f"{verb}_async"
        for verb in ("mirror", "resume", "plan", "verify", "status", "query", "adopt", "describe", "archives", "serve")
    } <= set(dir(bulkdl))
