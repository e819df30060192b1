"""The scenarios: what is fetched, over which link, onto which disk; ours and the peers in turn, round by round."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tests.benchmarks import bucket, corpus, link
from tests.benchmarks.archive import Archive
from tests.benchmarks.corpus import Corpus, Instance, Shape
from tests.benchmarks.goals import Goal
from tests.benchmarks.link import Line
from tests.benchmarks.peers import BucketJob, Job
from tests.benchmarks.running import Run, run

OURS: Final = "bulkdl"
FLOOR: Final = "floor"
_BULKDL: Final = str(Path(sys.executable).with_name("bulkdl"))
_OF_FLOOR: Final = 1  # round
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of the comparison. `series` are the first so many of the collections, all where it is None.

    Without collections (`shapes`) the objects are those of the bucket. `plain` is the same scenario without TLS.
    `peers` are those that take part, all where it is None; `rounds` are the most.
    """

    name: str
    title: str
    shapes: tuple[Shape, ...]
    in_flight: int
    series: int | None = None
    line: Line | None = None
    in_memory: bool = False
    plain: str | None = None
    peers: tuple[str, ...] | None = None
    rounds: int = 99

    def address(self, archive: Archive) -> str:
        """Where the archive is."""
        return archive.url if self.plain is None else archive.encrypted_url

    def instances(self, things: Corpus) -> list[Instance]:
        """What is fetched."""
        if not self.shapes:
            return things.in_bucket(self.series)
        return [one for shape in self.shapes for one in things.instances(shape, self.series)]

    def in_short(self) -> Scenario:
        """The same with the first Series of each collection alone."""
        return replace(self, series=1)


_SMALL: Final = (corpus.SMALL,)
_CT: Final = (corpus.CT,)
_LARGE: Final = (corpus.LARGE,)
_QUICK_PEERS: Final = ("wget2", "curl -Z", "aria2c", "tcia_utils")
SCENARIOS: Final = (
    Scenario("S1", "loopback, 10,000 small instances, on disk", _SMALL, 32),
    Scenario("S1m", "loopback, 10,000 small instances, in memory", _SMALL, 32, in_memory=True),
    Scenario("S2", "loopback, 2,000 CT slices, on disk", _CT, 16),
    Scenario("S2m", "loopback, 2,000 CT slices, in memory", _CT, 16, in_memory=True),
    Scenario("S3", "loopback, 6 large instances, on disk", _LARGE, 8),
    Scenario("S2t", "TLS 1.3 on loopback, 2,000 CT slices, in memory", _CT, 16, in_memory=True, plain="S2m"),
    Scenario("S3t", "TLS 1.3 on loopback, 6 large instances, on disk", _LARGE, 8, plain="S3"),
    Scenario("S4", "80 ms, 1 Gbit/s, 1,000 CT slices", _CT, 64, series=10, line=link.FAR, in_memory=True),
    Scenario(
        *("S4t", "80 ms, 1 Gbit/s, TLS 1.3, 1,000 CT slices", _CT, 64),
        series=10,
        line=link.FAR,
        in_memory=True,
        plain="S4",
        peers=_QUICK_PEERS[:3],
    ),
    Scenario(
        *("S4j", "80 ms, 1 Gbit/s, 4,000 CT slices", (corpus.CT, corpus.MORE_CT), 64),
        line=link.FAR,
        in_memory=True,
        peers=_QUICK_PEERS[:3],
        rounds=1,
    ),
    Scenario(
        *("S4L", "80 ms, 1 Gbit/s, 0.5 % of packets lost, 500 CT slices", _CT, 64),
        series=5,
        line=link.LOSSY,
        in_memory=True,
        peers=_QUICK_PEERS,
        rounds=2,
    ),
    Scenario("S5", "80 ms, 1 Gbit/s, 4,000 small instances", _SMALL, 64, series=40, line=link.FAR, in_memory=True),
    Scenario(
        *("S8", "180 to 220 ms, 10 Mbit/s, 24 CT slices", (corpus.FEW_CT,), 16),
        line=link.NARROW,
        in_memory=True,
        peers=_QUICK_PEERS,
        rounds=2,
    ),
    Scenario("S7", "loopback, bucket of the IDC, 100 series and 6 large instances, in memory", (), 0, in_memory=True),
)


@dataclass(slots=True)
class Result:
    """The result of a scenario: the runs of each tool, and the seconds that `guarantee` took after each of a peer."""

    scenario: Scenario
    instances: int
    size_bytes: int
    runs: dict[str, list[Run]] = field(default_factory=dict)
    check_seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)

    def seconds(self, tool: str) -> float:
        """The median."""
        return statistics.median(one.seconds for one in self.runs[tool])

    def guaranteed_seconds(self, tool: str) -> float:
        """The median of a peer and the checks after it."""
        return statistics.median(
            one.seconds + check for one, check in zip(self.runs[tool], self.check_seconds[tool], strict=True)
        )

    def peers(self) -> list[str]:
        """The peers that brought everything, the fastest first."""
        right = (name for name in self.runs if name not in {OURS, FLOOR} and not self.wrong[name])
        return sorted(right, key=self.seconds)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a comparison takes place: `folder` is for lists and manifests, `disk` for what is downloaded."""

    things: Corpus
    archive: Archive
    folder: Path
    disk: Path


def compare(scenario: Scenario, places: Places, *, rounds: int, say: Say) -> Result:
    """Run ours and every peer, in turn; check that every object came with the right bytes."""
    archive, instances = places.archive, scenario.instances(places.things)
    result = Result(scenario, len(instances), sum(one.size_bytes for one in instances))
    inside = link.CLIENT if scenario.line is not None else ()
    commands = commands_of(scenario, places, instances)
    for name in commands:
        result.runs[name], result.check_seconds[name], result.wrong[name] = [], [], 0
    _warm(places.things, instances)
    for number in range(min(rounds, scenario.rounds)):
        for name, make in commands.items():
            if name == FLOOR and number >= _OF_FLOOR:
                continue
            out = places.disk / f"{scenario.name}-out"
            os.sync()
            one = run(make(out), archive, inside=inside, out=out)
            result.runs[name].append(one)
            result.wrong[name] += _missing(out, instances)
            if name not in {OURS, FLOOR}:
                result.check_seconds[name].append(_check(out, archive, with_md5=not scenario.shapes))
            say(f"{scenario.name} {number + 1}/{rounds} {name}: {one.seconds:.2f} s, {one.requests:,} requests")
            shutil.rmtree(out, ignore_errors=True)
    return result


def commands_of(
    scenario: Scenario, places: Places, instances: list[Instance]
) -> dict[str, Callable[[Path], list[str]]]:
    archive, folder = places.archive, places.folder
    job: Job | BucketJob
    if scenario.shapes:
        ours = _ours(scenario, archive, instances, folder)
        job = Job(folder, scenario.address(archive), instances, scenario.in_flight, archive.certificate)
    else:
        ours = _ours_of_bucket(places, instances)
        job = BucketJob(folder, archive.bucket_url, instances)
    peers = {name: make for name, make in job.commands().items() if name in (scenario.peers or job.commands())}
    return {OURS: ours, **peers, **({} if scenario.line is not None else {FLOOR: job.floor})}


def _ours(scenario: Scenario, archive: Archive, instances: list[Instance], folder: Path) -> Callable[[Path], list[str]]:
    what = [word for shape in scenario.shapes for word in ("--collection", shape.name)]
    if scenario.series is not None:
        manifest = folder / f"{scenario.name}.txt"
        manifest.write_text("".join(f"{uid}\n" for uid in dict.fromkeys(one.series_uid for one in instances)))
        what = ["--manifest", str(manifest)]
    if scenario.plain is not None:
        what += ["--ca-bundle", str(archive.certificate)]
    common = [_BULKDL, "mirror", "--archive", scenario.address(archive), *what, "--yes", "--progress", "none"]
    return lambda out: [*common, "--to", str(out)]


def _ours_of_bucket(places: Places, instances: list[Instance]) -> Callable[[Path], list[str]]:
    manifest = places.folder / "bucket.s5cmd"
    manifest.write_text(bucket.manifest(instances))
    index = str(places.things.root / bucket.INDEX)
    place = ["--archive", f"idc+{places.archive.bucket_url}/", "--idc-index", index]
    common = [_BULKDL, "mirror", *place, "--manifest", str(manifest), "--yes", "--progress", "none"]
    return lambda out: [*common, "--to", str(out)]


def _warm(things: Corpus, instances: list[Instance]) -> None:
    for one in instances:
        one.path(things.root).read_bytes()


def _missing(out: Path, instances: list[Instance]) -> int:
    """How many objects did not come, byte for byte; names do not count, some peers make their own."""
    found = set[str]()
    for path in _files(out):
        with path.open("rb") as file:
            found.add(hashlib.file_digest(file, "sha256").hexdigest())
    return len({one.sha256 for one in instances} - found)


def _files(out: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(out):
        if ".bulkdl" in below:
            below.remove(".bulkdl")
        yield from (Path(folder, name) for name in names)


def _check(out: Path, archive: Archive, *, with_md5: bool) -> float:
    further = ["--md5"] if with_md5 else []
    return run([sys.executable, "-m", "tests.benchmarks.guarantee", str(out), *further], archive).seconds


def rerun(things: Corpus, archive: Archive, disk: Path, *, say: Say) -> list[Goal]:
    """S6: what is complete already, looked at again."""
    out = disk / "S6-out"
    mirror = [_BULKDL, "mirror", "--archive", archive.url, "--collection", corpus.SMALL.name]
    mirror += ["--to", str(out), "--yes", "--progress", "none"]
    run(mirror, archive)
    resumed = [run([_BULKDL, "resume", str(out), "--progress", "none"], archive) for _ in range(5)]
    again = [run(mirror, archive) for _ in range(5)]
    count = len(things.instances(corpus.SMALL))
    shutil.rmtree(out, ignore_errors=True)
    seconds, requests = statistics.median(one.seconds for one in resumed), resumed[0].requests
    say(f"S6 resume: {seconds:.2f} s, {requests} requests; mirror: {again[0].requests} requests")
    return [
        Goal(
            "S6 resume",
            f"{count:,} complete: under 0.5 s, no request",
            f"{seconds:.2f} s, {requests} requests",
            seconds < 0.5 and requests == 0,
        ),
        Goal(
            "S6 mirror again",
            "one request per selection",
            f"{again[0].requests} requests, {statistics.median(one.seconds for one in again):.2f} s",
            again[0].requests == 1,
        ),
    ]
