"""Measure the largest resident size of a process and its children while it runs.

`python -m tests.stress.memory 10000 50000 --workers=2` mirrors that many made-up instances each, with the options of
`bulkdl mirror` that follow, and prints the peaks. Set the number of workers to compare: each is a process.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.commands import Process, serve, start
from tests.support.dicom_files import instances, write_folder

PER_SERIES = 100


def peak_bytes(process: Process, *, every_seconds: float = 0.05) -> int:
    """Watch a process until it ends; return the largest sum of resident sizes of its tree."""
    root, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        total = 0
        with suppress(psutil.Error):
            for member in (root, *root.children(recursive=True)):
                with suppress(psutil.Error):
                    total += member.memory_info().rss
        peak = max(peak, total)
        with suppress(subprocess.TimeoutExpired):
            process.wait(every_seconds)
    return peak


def mirror_and_watch(folder: Path, count: int, *options: str) -> int:
    """Mirror `count` made-up instances; return the peak of the command's process tree in bytes."""
    write_folder(folder / "archive", instances(series=count // PER_SERIES, per_series=PER_SERIES))
    cache = folder / "cache"
    with serve(folder / "archive", cache=cache, log=folder / "access.jsonl") as archive:
        command = (
            "mirror",
            "--archive",
            archive.url,
            "--everything",
            "--yes",
            "--to",
            folder / "mirror",
            "--progress",
            "none",
        )
        with start([*command, *options], cache=cache) as process:
            peak = peak_bytes(process)
            process.communicate()
        if process.returncode != 0:
            raise AssertionError(f"the mirror ended with {process.returncode}")
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="+")
    given, options = parser.parse_known_args()
    for count in given.counts:
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            peak = mirror_and_watch(Path(folder), count, *options)
            seconds = time.monotonic() - started
            print(f"{count:,} instances: {peak / 1e6:.0f} MB at most, {seconds:.0f} s with all")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
