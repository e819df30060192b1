"""Growth with the number of cores: on cores that are made slow, so that few are enough to look like many.

Each process of the command is in a control group that gives it a fifth of a core (cgroups, version 1 or 2; root). Two
cores then look like eight slow ones, with the rest for the server, and what limits growth is found by running it:
what one process does for all, and waiting for each other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from tests.benchmarks import corpus
from tests.benchmarks.archive import Archive, Asked
from tests.benchmarks.corpus import Shape
from tests.benchmarks.goals import Bars, Goal

_BULKDL: Final = str(Path(sys.executable).with_name("bulkdl"))
_OLD, _NEW = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
_PERIOD_US: Final = 10_000
_SHARE: Final = 0.2  # of a core
_EVERY_SECONDS: Final = 0.02
_LEAST: Final = 0.8  # of linear growth


def growth(archive: Archive, disk: Path, *, is_short: bool) -> tuple[list[Goal], list[Bars]]:
    """The throughput on 2, 4 and 8 slow cores beside that on one."""
    if (why := _missing()) is not None:
        return [Goal("Cores", f"growth of {_LEAST} of linear on 2, 4 and 8", f"not measured: {why}", met=False)], []
    counts = (1, 2) if is_short else (1, 2, 4, 8)
    goals, plots = [], []
    for what, shape in (("small instances", corpus.SMALL), ("CT slices", corpus.CT)):
        rates = [_rate(archive, disk / "cores-out", shape, count) for count in counts]
        each = [rate / rates[0] for rate in rates]
        for count, times in zip(counts[1:], each[1:], strict=True):
            wanted = f"at least {_LEAST * count:.1f} times as many as on one"
            goals.append(Goal(f"{count} cores, {what}", wanted, f"{times:.2f} times", times >= _LEAST * count))
        title = f"Growth with cores of a fifth of the speed: {what}, beside one core"
        plots.append(Bars(title, "times", tuple((f"{n} cores", one) for n, one in zip(counts, each, strict=True))))
    return goals, plots


def _missing() -> str | None:
    if os.geteuid() != 0:
        return "it takes root to make control groups"
    has_new = (_NEW / "cgroup.subtree_control").is_file() and "cpu" in (_NEW / "cgroup.controllers").read_text()
    return None if (_OLD / "cpu.cfs_quota_us").is_file() or has_new else "there is no control group of CPU time"


def _rate(archive: Archive, out: Path, shape: Shape, count: int) -> float:
    """Bytes a second of the middle half of a mirror, with `count` processes on as many slow cores."""
    command = [_BULKDL, "mirror", "--archive", archive.url, "--collection", shape.name, "--to", str(out), "--yes"]
    command += ["--progress", "none", "--workers", str(count)]
    mark = archive.mark()
    with ExitStack() as stack:
        cores = [stack.enter_context(_slow_core(number)) for number in range(count)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _move(process.pid, cores[0])
        ended = threading.Event()
        watcher = threading.Thread(target=_spread, args=(process.pid, cores, ended))
        watcher.start()
        code = process.wait()
        ended.set()
        watcher.join()
    shutil.rmtree(out, ignore_errors=True)
    if code:
        raise RuntimeError(f"the mirror on {count} slow cores ended with {code}")
    return _middle_rate([one for one in archive.since(mark) if one.is_object])


def _middle_rate(objects: Sequence[Asked]) -> float:
    """Bytes a second between the first and the last quarter of the bytes: start and end are left out."""
    ordered = sorted(objects, key=lambda one: one.ended_at)
    total, sent, first = sum(one.size_bytes for one in ordered), 0, None
    for one in ordered:
        sent += one.size_bytes
        if first is None and sent >= total / 4:
            first = (one.ended_at, sent)
        if first is not None and sent >= total * 3 / 4 and one.ended_at > first[0]:
            return (sent - first[1]) / (one.ended_at - first[0])
    raise RuntimeError("the mirror was too short to be measured")


@contextmanager
def _slow_core(number: int) -> Iterator[Path]:
    """A control group that gives its processes together `_SHARE` of a core."""
    quota = int(_PERIOD_US * _SHARE)
    is_old = (_OLD / "cpu.cfs_quota_us").is_file()
    group = (_OLD if is_old else _NEW) / f"bulkdl-core-{number}"
    if not is_old:
        (_NEW / "cgroup.subtree_control").write_text("+cpu")
    group.mkdir(exist_ok=True)
    try:
        if is_old:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        yield group
    finally:
        with suppress(OSError):
            group.rmdir()


def _move(pid: int, group: Path) -> None:
    with suppress(OSError):  # it has ended
        (group / "cgroup.procs").write_text(str(pid))


def _spread(pid: int, cores: Sequence[Path], ended: threading.Event) -> None:
    """Move each process that the command starts to a core that has none yet, until all have one: looking takes time."""
    known = {pid}
    while len(known) < len(cores) and not ended.wait(_EVERY_SECONDS):
        with suppress(psutil.Error):
            for child in psutil.Process(pid).children(recursive=True):
                if child.pid not in known:
                    _move(child.pid, cores[len(known) % len(cores)])
                    known.add(child.pid)
