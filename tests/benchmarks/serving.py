"""Goals of `bulkdl serve`: instances and zips a second of a core, without and with TLS, and answers of many rows."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil

from tests.benchmarks import corpus
from tests.benchmarks.corpus import Corpus, Instance
from tests.benchmarks.goals import Goal
from tests.support.faults import CERTIFICATE

_BULKDL: Final = str(Path(sys.executable).with_name("bulkdl"))
_SMALL_A_SECOND: Final = 12_000
_LARGE_BYTES: Final = 1e9  # a second
_ZIP_BYTES: Final = 500e6
_TLS: Final = ("--tls-cert", str(CERTIFICATE))


def serving(things: Corpus, disk: Path, *, is_short: bool) -> list[Goal]:
    """`bulkdl serve` under wrk: instances and bytes for each second of the server's CPU, without and with TLS."""
    if shutil.which("wrk") is None:
        return [Goal("serve", f"{_SMALL_A_SECOND:,} small instances a second a core", "wrk is missing", met=False)]
    small, slice_, large = (things.instances(shape)[0] for shape in (corpus.SMALL, corpus.CT, corpus.LARGE))
    seconds, goals = 1 if is_short else 4, []
    for name, options in (("", ()), (", TLS", _TLS)):
        rate, _ = _served(things, small, disk, _instance(small), options, seconds=seconds)
        wanted = f"{_SMALL_A_SECOND:,} instances a second a core"
        goals.append(Goal(f"serve, small{name}", wanted, f"{rate:,.0f}", rate >= _SMALL_A_SECOND))
        zips = f"v1/getImage?SeriesInstanceUID={slice_.series_uid}"
        _, carried = _served(things, slice_, disk, zips, options, seconds=seconds)
        goals.append(_bytes(f"serve, zips{name}", carried, _ZIP_BYTES))
        _, carried = _served(things, large, disk, _instance(large), options, seconds=seconds)
        goals += [_bytes("serve, large", carried, _LARGE_BYTES)] if not options else []
    return goals


def _instance(one: Instance) -> str:
    return f"v1/getSingleImage?SeriesInstanceUID={one.series_uid}&SOPInstanceUID={one.sop_uid}"


def _bytes(name: str, carried: float, wanted: float) -> Goal:
    return Goal(name, f"{wanted / 1e6:,.0f} MB/s a core", f"{carried / 1e6:,.0f} MB/s", carried >= wanted)


def listing(things: Corpus, disk: Path, *, series: int = 200_000) -> list[Goal]:
    """GetSeries of very many Series: when the first byte comes, and what the server's memory grows by."""
    with tempfile.TemporaryDirectory(dir=disk) as cache:
        folder = things.root / "data" / things.instances(corpus.SMALL)[0].series_uid
        with bulkdl_server([str(folder)], cache):
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
        with bulkdl_server([str(folder)], cache) as (url, server):
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
        with bulkdl_server(words, cache) as (url, server):
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
def bulkdl_server(words: list[str], cache: str) -> Iterator[tuple[str, psutil.Process]]:
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


_UNITS: Final = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}  # as wrk writes them


def _served(
    things: Corpus, one: Instance, disk: Path, question: str, options: tuple[str, ...], *, seconds: int
) -> tuple[float, float]:
    """The answers to `question`, and their bytes, for each second of the CPU of a server of the Series of `one`."""
    folder = str(things.root / "data" / one.series_uid)
    with (
        tempfile.TemporaryDirectory(dir=disk) as cache,
        bulkdl_server([folder, *options], cache) as (url, server),
    ):
        address = f"{url}/{question}"
        before = server.cpu_times()
        command = ["wrk", "-t1", "-c8", f"-d{seconds}s", "--timeout", "30s", address]
        wrk = subprocess.run(command, check=True, capture_output=True, text=True)
        after = server.cpu_times()
    if "Non-2xx" in wrk.stdout or "Socket errors" in wrk.stdout:
        raise RuntimeError(f"bulkdl serve did not answer wrk: {address}: {wrk.stdout}")
    count, size = re.findall(r"(\d+) requests in [0-9.]+\w+, ([0-9.]+[KMGT]?B) read", wrk.stdout)[0]
    used = after.user + after.system - before.user - before.system
    return int(count) / used, float(size.rstrip("KMGTB")) * _UNITS.get(size[-2:], 1) / used
