"""Where the time of one process of bulkdl goes: `python -m tests.benchmarks.profile S2m`, with one of the scenarios.

It runs the mirror of the scenario once with `--workers 1` under cProfile, and prints the share of each library and the
functions that take longest themselves. The profile makes Python's own calls too expensive: compare shares of one kind.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from bulkdl.cli.main import cli
from tests.benchmarks import corpus
from tests.benchmarks.archive import serving
from tests.benchmarks.scenarios import SCENARIOS, Places, commands_of

_MOST: Final = 25  # functions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=[one.name for one in SCENARIOS if one.line is None])
    (scenario,) = (one for one in SCENARIOS if one.name == parser.parse_args().scenario)
    things = corpus.ready(Path(tempfile.gettempdir()) / f"bulkdl-bench-corpus-{corpus.VERSION}")
    with (
        tempfile.TemporaryDirectory() as name,
        tempfile.TemporaryDirectory(dir="/dev/shm") as memory,
        serving(things, Path(name) / "nginx") as archive,
    ):
        places = Places(things, archive, Path(name), Path(memory))
        ours, *_ = commands_of(scenario, places, scenario.instances(things)).values()
        words = [*ours(Path(memory) / "out")[1:], "--workers", "1"]
        profile = cProfile.Profile()
        profile.enable()
        cli(words, standalone_mode=False)
        profile.disable()
    stats: Any = pstats.Stats(profile, stream=sys.stdout)
    total, by_library = stats.total_tt, Counter[str]()
    for (file, _, function), (_, _, own, _, _) in stats.stats.items():
        by_library[_library(file, function)] += own
    for library, own in by_library.most_common(_MOST):
        sys.stdout.write(f"{own / total:6.1%} {own:7.2f} s {library}\n")
    stats.sort_stats("tottime").print_stats(_MOST)


def _library(file: str, function: str) -> str:
    """The package of a function: with its module for those of bulkdl, and by its name for those in C."""
    if file == "~":
        return function.strip("<>").removeprefix("built-in method ").removeprefix("method ")
    parts = Path(file).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return ".".join(parts[parts.index("bulkdl") :]) if "bulkdl" in parts else Path(file).stem


if __name__ == "__main__":
    main()
