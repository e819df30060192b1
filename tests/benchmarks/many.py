"""Goals on very many instances: memory up to a million, and how many small files `verify` and `adopt` read."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.benchmarks import corpus
from tests.benchmarks.goals import Bars, Goal
from tests.stress.memory import peak_bytes

_BULKDL: Final = str(Path(sys.executable).with_name("bulkdl"))
_MOST_MB: Final = 200
_GROWTH_MB: Final = 15
_FILES_A_SECOND: Final = 10_000
_QUIET: Final = ("--progress", "none")


@contextmanager
def _tiny_archive(instances: int) -> Iterator[str]:
    """The address of an archive of so many tiny instances, in a separate process."""
    command = [sys.executable, "-m", "tests.benchmarks.tiny_archive", str(instances)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _mirror(url: str, mirror: Path) -> float:
    """Mirror everything with two processes; the peak of their memory in MB."""
    command = [_BULKDL, "mirror", "--archive", url, "--collection", corpus.TINY.name, "--to", str(mirror)]
    words = [*command, *_QUIET, "--yes", "--workers", "2"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        peak = peak_bytes(process) / 1e6
        _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the mirror ended with {process.returncode}: {said[-500:]}")
    return peak


def memory(disk: Path, *, is_short: bool) -> tuple[list[Goal], list[Bars]]:
    """Whether the memory of a mirror's processes grows with the number of instances."""
    counts = (2_000, 10_000) if is_short else (10_000, 100_000, 1_000_000)
    peaks, seconds = [], 0.0
    for instances in counts:
        with tempfile.TemporaryDirectory(dir=disk) as folder, _tiny_archive(instances) as url:
            started = time.perf_counter()
            peaks.append(_mirror(url, Path(folder) / "mirror"))
            seconds = time.perf_counter() - started
            found = sum(1 for _ in (Path(folder) / "mirror").rglob("*.dcm"))
        if found != instances:
            raise RuntimeError(f"{found:,} of {instances:,} instances are in the mirror")
    each = [f"{peak:.0f} MB for {count:,}" for count, peak in zip(counts, peaks, strict=True)]
    wanted = f"two processes: at most {_MOST_MB} MB, and at most {_GROWTH_MB} MB more for the most than for the fewest"
    is_met = max(peaks) <= _MOST_MB and peaks[-1] - peaks[0] <= _GROWTH_MB
    found_text = f"{', '.join(each)} ({seconds:.0f} s)"
    values = tuple((f"{count:,} instances", peak) for count, peak in zip(counts, peaks, strict=True))
    return [Goal("Memory, flat", wanted, found_text, is_met)], [Bars("Memory of two processes", "MB", values)]


def small_files(disk: Path, *, is_short: bool) -> list[Goal]:
    """How many tiny instances a second `verify` and `adopt` read, their start included."""
    instances = 5_000 if is_short else 100_000
    with tempfile.TemporaryDirectory(dir=disk) as name, _tiny_archive(instances) as url:
        folder = Path(name)
        _mirror(url, folder / "mirror")
        verifying = _seconds([_BULKDL, "verify", str(folder / "mirror"), *_QUIET])
        adopt = [_BULKDL, "adopt", str(folder / "mirror" / corpus.TINY.name), "--to", str(folder / "adopted")]
        adopting = _seconds([*adopt, "--archive", url, *_QUIET])
        adopted = sum(1 for _ in (folder / "adopted").rglob("*.dcm"))
    if adopted != instances:
        raise RuntimeError(f"{adopted:,} of {instances:,} files are adopted")
    return [_rate("verify", instances, verifying), _rate("adopt", instances, adopting)]


def _rate(verb: str, instances: int, seconds: float) -> Goal:
    rate = instances / seconds
    found = f"{rate:,.0f}: {instances:,} of 2 KB in {seconds:.1f} s"
    return Goal(f"{verb}, small files", f"{_FILES_A_SECOND:,} a second", found, rate >= _FILES_A_SECOND)


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[1]} ended with {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - started
