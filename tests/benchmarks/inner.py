"""Goals that downloads do not show: start-up, journal, verify, serve."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil

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
from tests.stress.memory import mirror_and_watch
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
    return [Goal("Own cost", "under 180 µs for a small instance", found, each - checking <= 180e-6)]


def memory(disk: Path, *, few: int = 5_000, many: int = 50_000) -> list[Goal]:
    """Whether the memory of a mirror's processes grows with the number of instances."""
    peaks = []
    for instances in (few, many):
        with tempfile.TemporaryDirectory(dir=disk) as folder:
            peaks.append(mirror_and_watch(Path(folder), instances, "--workers", "2") / 1e6)
    found = f"{peaks[0]:.0f} MB for {few:,}, {peaks[1]:.0f} MB for {many:,}"
    return [Goal("Memory, flat", "two processes: under 200 MB, whatever the number", found, peaks[1] < peaks[0] + 15)]


def start_up() -> list[Goal]:
    """How long a command that does nothing takes."""
    took = statistics.median(_seconds([_BULKDL, "--version"]) for _ in range(9)) * 1e3
    return [Goal("Start-up", "`bulkdl --version` under 80 ms", f"{took:.0f} ms", took <= 80)]


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
    """`bulkdl verify` beside `sha256sum` on all cores, on the same files, in turn."""
    mirror = disk / "verify-out"
    command = [_BULKDL, "mirror", "--archive", archive_url, "--collection", corpus.CT.name, "--to", str(mirror)]
    subprocess.run([*command, "--yes", "--progress", "none"], check=True, capture_output=True)
    sums = f"find {mirror} -name '*.dcm' -print0 | xargs -0 -n 32 -P {os.cpu_count()} sha256sum"
    ours, theirs = [], []
    for _ in range(3):
        theirs.append(_seconds(["sh", "-c", sums]))
        ours.append(_seconds([_BULKDL, "verify", str(mirror), "--progress", "none"]))
    shutil.rmtree(mirror)
    ratio = statistics.median(theirs) / statistics.median(ours)
    return [Goal("verify", "90 % of sha256sum on all cores", f"{ratio:.0%}", ratio >= 0.9)]


def serving(things: Corpus, disk: Path) -> list[Goal]:
    """`bulkdl serve` under wrk: instances and bytes for each second of the server's CPU."""
    if shutil.which("wrk") is None:
        return []
    small = _served(things, corpus.SMALL, disk)
    large = _served(things, corpus.LARGE, disk)
    size = things.instances(corpus.LARGE)[0].size_bytes
    return [
        Goal("serve, small", "12,000 instances a second a core", f"{small:,.0f}", small >= 12_000),
        Goal("serve, large", "1 GB/s a core", f"{large * size / 1e9:.2f} GB/s", large * size >= 1e9),
    ]


def listing(things: Corpus, disk: Path, *, series: int = 200_000) -> list[Goal]:
    """GetSeries of very many Series: when the first byte comes, and what the server's memory grows by."""
    with tempfile.TemporaryDirectory(dir=disk) as cache:
        folder = things.root / "data" / things.instances(corpus.SMALL)[0].series_uid
        with _server([str(folder)], cache):
            pass  # it has made its catalogue
        (catalogue,) = Path(cache).rglob("catalogues/*.sqlite")
        with closing(sqlite3.connect(catalogue)) as database, database:
            database.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                "INSERT INTO series SELECT s.number + i, s.series_uid || '.' || i, s.collection_key, s.patient, "
                "s.study, s.kind, s.since, s.description, s.image_count, s.size_bytes, s.series_number, s.location, "
                "s.series_date, s.submitted FROM n, (SELECT * FROM series ORDER BY number DESC LIMIT 1) AS s",
                (series - 1,),
            )
        with _server([str(folder)], cache) as (url, server):
            before = server.memory_info().rss
            asked = ["curl", "-s", "-o", "/dev/null", "-w", "%{time_starttransfer} %{size_download}"]
            said = subprocess.run([*asked, f"{url}/v1/getSeries"], check=True, capture_output=True, text=True).stdout
            grown = (server.memory_info().rss - before) / 1e6
    first, size = map(float, said.split())
    return [
        Goal(
            "serve, getSeries",
            f"{series:,} series in bounded memory, first byte within 0.5 s",
            f"{first:.2f} s, {size / 1e6:.0f} MB sent, memory grew by {grown:.0f} MB",
            first < 0.5 and grown < 50 and size > 100 * series,
        )
    ]


_QUESTIONS: Final = (
    *("v1/getCollectionValues", "v4/getSeries?Collection=nlst", "v4/getSeries?Modality=XC"),
    *("v1/getPatientStudy?Collection=nlst", "v1/getModalityValues", "v1/getModalityValues?BodyPartExamined=CHEST"),
    *("v4/getManufacturerValuesAndCounts?Modality=CT", "v4/getSpeciesValuesAndCounts"),
    "v1/getPatientByCollectionAndModality?Collection=nlst&Modality=SEG",
)
_SEARCHES: Final = (
    *("", "criteriaType0=ImageModalityCriteria&value0=CT", "criteriaType0=AnatomicalSiteCriteria&value0=CHEST"),
    *("criteriaType0=DescriptionCriteria&value0=axial", "criteriaType0=MinNumberOfStudiesCriteria&value0=2"),
    "criteriaType0=DateRangeCriteria&fromDate0=01-01-2020&toDate0=01-01-2030",
)


def gateway(disk: Path) -> list[Goal]:
    """A cache of the whole IDC, by its real index: its first start, what questions take, and its memory."""
    if find_spec("idc_index_data") is None:
        return []
    with tempfile.TemporaryDirectory(dir=disk) as cache:
        words = ["--archive", "idc", "--cache", f"{cache}/mirror"]
        started = time.perf_counter()
        with _server(words, cache) as (url, server):
            start = time.perf_counter() - started
            asked = [_asked(server, f"{url}/{question}") for question in _QUESTIONS]
            asked += [_asked(server, f"{url}/v4/getSimpleSearch", f"{form}&start=0&size=10") for form in _SEARCHES]
            size = server.memory_info().rss / 1e6
        kept = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file()) / 1e6
    slowest, what = max(asked)
    return [
        Goal("serve, IDC: start", "a first start within 20 s", f"{start:.0f} s, {kept:,.0f} MB on disk", start < 20),
        Goal("serve, IDC: questions", "each within 1 s of CPU", f"{slowest:.2f} s for {what}", slowest <= 1),
        Goal("serve, IDC: memory", "below 400 MB", f"{size:.0f} MB", size < 400),
    ]


def _asked(server: psutil.Process, address: str, form: str | None = None) -> tuple[float, str]:
    """The CPU that the server takes until the first 64 KiB of its answer, and the question."""
    before = server.cpu_times()
    data = form.encode() if form is not None else None
    with urllib.request.urlopen(address, data) as answer:  # noqa: S310 - our own server
        assert answer.read(1 << 16)
    after = server.cpu_times()
    return after.user + after.system - before.user - before.system, f"{address.rpartition('/')[2]} {form or ''}".strip()


@contextmanager
def _server(words: list[str], cache: str) -> Iterator[tuple[str, psutil.Process]]:
    """`bulkdl serve` with these words, while the block runs: the address of its services, and its process."""
    command = [_BULKDL, "serve", *words, "--port", "0", "--json"]
    environment = {**os.environ, "XDG_CACHE_HOME": cache, "XDG_CONFIG_HOME": cache}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"].rstrip("/"), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _served(things: Corpus, shape: corpus.Shape, disk: Path) -> float:
    """Requests that the server answers for each second of its CPU."""
    one = things.instances(shape)[0]
    with (
        tempfile.TemporaryDirectory(dir=disk) as cache,
        _server([str(things.root / "data" / one.series_uid)], cache) as (url, server),
    ):
        address = f"{url}/v1/getSingleImage?SeriesInstanceUID={one.series_uid}&SOPInstanceUID={one.sop_uid}"
        before = server.cpu_times()
        wrk = subprocess.run(["wrk", "-t1", "-c8", "-d4s", address], check=True, capture_output=True, text=True)
        after = server.cpu_times()
    if "Non-2xx" in wrk.stdout:
        raise SystemExit(f"bulkdl serve refused what wrk asked for: {address}")
    done = next(line for line in wrk.stdout.splitlines() if "requests in" in line)
    return int(done.split()[0]) / (after.user + after.system - before.user - before.system)


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started
