"""What `import bulkdl` costs, and what it names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bulkdl

HEAVY = ("aiohttp", "asyncio", "numpy", "pydicom", "sqlite3", "bulkdl.verbs", "bulkdl.errors")


# What a mirror needs at times, and imports then: some milliseconds each, in each process of a run.
LATE = (
    *("aiohttp", "pydicom", "numpy", "pandas", "duckdb", "csv", "difflib", "tomllib", "zipfile"),
    *(
        "html",
        "html.parser",
        "urllib.request",
        "xml.etree.ElementTree",
        "bulkdl.manifest",
        "bulkdl.server",
        "bulkdl.verbs.locks.holder",
    ),
    *("bulkdl.archive.dicomweb.multipart", "bulkdl.archive.idc.catalogue"),
    *("bulkdl.model.data_sets", "bulkdl.model.reports.log", "bulkdl.model.reports.status"),
)


def imported(module: str, names: tuple[str, ...]) -> str:
    """Those of `names` that are imported with `module`, as Python shows a list."""
    program = f"import sys, {module}; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_bulkdl_imports_nothing_else() -> None:
    assert imported("bulkdl", HEAVY) == "[]"


@pytest.mark.parametrize(
    "module", ["bulkdl.cli.commands.mirror", "bulkdl.cli.commands.resume", "bulkdl.fetch.worker_main"]
)
def test_a_run_starts_without_what_most_runs_do_not_need(module: str) -> None:
    assert imported(module, LATE) == "[]"


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


def test_dir_shows_what_is_public_and_nothing_else() -> None:
    assert dir(bulkdl) == sorted(bulkdl.__all__)
