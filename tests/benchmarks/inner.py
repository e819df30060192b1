"""Goals that downloads do not show: the cost of the event loop, start-up, journal, verify, adopt, limits."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from bulkdl.dicom.validation import validate
from bulkdl.fetch.digests import digests_of
from bulkdl.journal.journal import Journal
from bulkdl.model.outcomes import InstanceOutcome
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.settings import ValidationLevel
from bulkdl.runtime.concurrency import Limiter
from bulkdl.runtime.rates import RequestRate
from tests.benchmarks import corpus
from tests.benchmarks.archive import Archive
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.goals import Goal
from tests.benchmarks.running import run as measured
from tests.support import simulated_archive as simulated
from tests.support.journals import NOW, begin, folder, outcome, record_listed

_BULKDL: Final = str(Path(sys.executable).with_name("bulkdl"))
_PER_SERIES: Final = 1_000
_GROUP: Final = 500
_NOWHERE: Final = "nbia+http://127.0.0.1:9/nbia-api/services"  # a request to it fails


def limits() -> list[Goal]:
    """The limiter and the pace against simulated archives (`tests.support.simulated_archive`), after ten seconds."""
    found = []
    for name, knee in [(f"K = {k}", _steady(k)) for k in (4, 16, 64)] + [("K = 16, then 64, then 4", _changing)]:
        courses = [
            simulated.run(
                simulated.Archive(knee, slowed=slowed, noise=0.3, seed=seed, size_bytes=50_000),
                Limiter(ceiling=256),
                seconds=90,
                after=10,
            )
            for slowed in (simulated.queueing, simulated.soft)
            for seed in range(6)
        ]
        share = statistics.median(course.share for course in courses)
        refused = sum(course.refused for course in courses) / sum(course.finished for course in courses)
        found.append(
            Goal(
                f"Limiter, {name}",
                "85 % of the best fixed limit, under 2 % refused",
                f"{share:.0%}, {refused:.2%}",
                share >= 0.85 and refused < 0.02,
            )
        )
    for rate in (20, 100, 300):
        archive = simulated.Archive(lambda _: 10_000, size_bytes=50_000, noise=0.3, per_second=partial(_constant, rate))
        course = simulated.run(archive, Limiter(ceiling=256), pace=RequestRate(), seconds=90, after=10)
        found.append(
            Goal(
                f"Rate limit, {rate} a second",
                "95 % of it, under 1 % refused",
                f"{course.share:.1%}, {course.refused_share:.2%}",
                course.share >= 0.95 and course.refused_share < 0.01,
            )
        )
    return found


def _constant(rate: int, _seconds: float) -> int:
    return rate


def _steady(knee: int) -> Callable[[float], int]:
    return lambda _: knee


def _changing(now: float) -> int:
    return 16 if now < 30 else 64 if now < 60 else 4


def own_cost(things: Corpus, archive: Archive, disk: Path) -> list[Goal]:
    """What one worker adds to a small instance, beside checking it: user and system time of all its threads."""
    instances = things.instances(corpus.SMALL)
    spent = []
    for what in (["--series", instances[0].series_uid], ["--collection", corpus.SMALL.name]):
        out = disk / "own-out"
        command = [_BULKDL, "mirror", "--archive", archive.url, *what, "--to", str(out), "--workers", "1", "--yes"]
        one = measured([*command, "--progress", "none"], archive)
        spent.append(one.user_seconds + one.system_seconds)
        shutil.rmtree(out)
    each = (spent[1] - spent[0]) / (len(instances) - corpus.SMALL.per_series)
    paths = [one.path(things.root) for one in instances[:2_000]]
    contents = [path.read_bytes() for path in paths]
    validate(contents[0], level=ValidationLevel.STRUCTURE)
    began = time.process_time()
    for content in contents:
        validate(content, level=ValidationLevel.STRUCTURE)
        digests_of(content, with_md5=False)
    checking = (time.process_time() - began) / len(contents)
    found = f"{(each - checking) * 1e6:.0f} µs, beside {checking * 1e6:.0f} µs of checks"
    return [Goal("Own cost", "at most 180 µs for a small instance", found, each - checking <= 180e-6)]


def start_up() -> list[Goal]:
    """How long a command that does nothing takes."""
    took = statistics.median(_seconds([_BULKDL, "--version"]) for _ in range(9)) * 1e3
    return [Goal("Start-up", "`bulkdl --version` within 80 ms", f"{took:.0f} ms", took <= 80)]


def journal(disk: Path, *, instances: int = 1_000_000) -> list[Goal]:
    """A journal of so many instances: outcomes a second, the question of `status`, and bytes."""
    with tempfile.TemporaryDirectory(dir=disk) as place:
        path, recording = Path(place) / ".bulkdl" / "journal.sqlite", 0.0
        path.parent.mkdir()
        with Journal.create_or_open(path) as book:
            begun = begin(book)
            for series in range(instances // _PER_SERIES):
                record_listed(book, begun, series, range(_PER_SERIES))
                outcomes = [outcome(series, number) for number in range(_PER_SERIES)]
                started = time.perf_counter()
                for first in range(0, _PER_SERIES, _GROUP):
                    book.record_outcomes(begun, outcomes[first : first + _GROUP])
                recording += time.perf_counter() - started
                lay_files(Path(place), outcomes, series)
            started = time.perf_counter()
            book.counts(None)
            asking = time.perf_counter() - started
            book.end_resolving(begun)
            book.end_run(begun.id, outcome=RunOutcome.COMPLETE, counts={}, now=NOW)
        size = sum(file.stat().st_size for file in path.parent.iterdir())
        resumed = statistics.median(
            _seconds([_BULKDL, "resume", place, "--progress", "none", "--archive", _NOWHERE]) for _ in range(3)
        )
    rate, each = instances / recording, size / instances
    return [
        Goal("Journal", "20,000 outcomes a second, synced", f"{rate:,.0f} in groups of {_GROUP}", rate >= 20_000),
        Goal("Status", f"{instances:,} instances under 1 s", f"{asking * 1e3:.1f} ms", asking < 1),
        Goal("S6, a million", "resume of a complete mirror under 5 s", f"{resumed:.2f} s", resumed < 5),
        Goal("Journal's size", "10 million in 4 GB", f"{each:.0f} B each, {each / 100:.1f} GB", each * 1e7 < 4e9),
    ]


def lay_files(mirror: Path, outcomes: Iterable[InstanceOutcome], series: int) -> None:
    """Sparse files of the sizes of the outcomes: `resume` looks that they lie there."""
    place = mirror / folder(series)
    place.mkdir(parents=True)
    for one in outcomes:
        with (place / f"{one.sop_uid}.dcm").open("wb") as file:
            file.truncate(one.size_bytes)


def verifying(archive_url: str, disk: Path) -> list[Goal]:
    """`bulkdl verify` and `bulkdl adopt` beside `sha256sum` on all cores, on the same files, in turn."""
    mirror, adopted = disk / "verify-out", disk / "adopt-out"
    command = [_BULKDL, "mirror", "--archive", archive_url, "--collection", corpus.CT.name, "--to", str(mirror)]
    subprocess.run([*command, "--yes", "--progress", "none"], check=True, capture_output=True)
    sums = f"find {mirror} -name '*.dcm' -print0 | xargs -0 -n 32 -P {os.cpu_count()} sha256sum"
    adopt = [_BULKDL, "adopt", str(mirror / corpus.CT.name), "--to", str(adopted), "--archive", archive_url]
    theirs, verify_seconds, adopt_seconds = [], [], []
    for _ in range(3):
        theirs.append(_seconds(["sh", "-c", sums]))
        verify_seconds.append(_seconds([_BULKDL, "verify", str(mirror), "--progress", "none"]))
        adopt_seconds.append(_seconds([*adopt, "--progress", "none"]))
        shutil.rmtree(adopted)
    shutil.rmtree(mirror)
    return [_beside_sums("verify", theirs, verify_seconds), _beside_sums("adopt", theirs, adopt_seconds)]


def _beside_sums(verb: str, theirs: list[float], ours: list[float]) -> Goal:
    ratio = statistics.median(theirs) / statistics.median(ours)
    found = f"{ratio:.0%}: {statistics.median(ours):.2f} s, sha256sum {statistics.median(theirs):.2f} s"
    return Goal(f"{verb}, CT slices", "90 % of sha256sum on all cores", found, ratio >= 0.9)


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started
