"""A cache of an archive that is killed again and again, and then serves everything."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from tests.support.commands import RunningArchive, run, serve, start

KILLED = (OSError, HTTPException, ValueError)
"""What a client of a server meets that is killed."""

DELAYS = (0.05, 0.2, 0.5, 1.0)  # seconds after the first request


def bundles(url: str) -> None:
    """Request the zips of all Series of a Collection, side by side, until the server is killed."""
    with urlopen(f"{url}/v1/getSeries?Collection=BULKDL-PHANTOM") as answer:  # noqa: S310 - our own server
        series = json.load(answer)

    def fetch(row: dict[str, str]) -> None:
        address = f"{url}/v1/getImage?SeriesInstanceUID={row['SeriesInstanceUID']}"
        with suppress(*KILLED), urlopen(address) as answer:  # noqa: S310 - the same
            answer.read()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(fetch, series))


def test_a_cache_that_is_killed_serves_everything_afterwards(
    demo_archive: RunningArchive, demo_cache: Path, tmp_path: Path
) -> None:
    kept, mirror = tmp_path / "kept", tmp_path / "mirror"
    for delay in DELAYS:
        words: list[str | Path] = ["serve", "--archive", demo_archive.url, "--cache", kept, "--port", "0"]
        with start(words, cache=demo_cache) as process, ThreadPoolExecutor(1) as clients:
            assert process.stdout is not None
            asking = clients.submit(bundles, process.stdout.readline().strip())
            time.sleep(delay)  # the moment of the kill
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            with suppress(*KILLED):
                asking.result()
    with serve("--archive", demo_archive.url, "--cache", kept, cache=demo_cache, log=tmp_path / "log.jsonl") as cache:
        done = run(
            "mirror",
            "--archive",
            cache.url,
            "--collection",
            "BULKDL-PHANTOM",
            "--to",
            mirror,
            "--json",
            cache=demo_cache,
        )
        assert (done.code, done.document()["outcome"]) == (0, "complete"), done.err
    direct = run("plan", "--archive", demo_archive.url, "--collection", "BULKDL-PHANTOM", "--json", cache=demo_cache)
    assert done.document()["instances"]["selected"] == direct.document()["instances"]["selected"]
    verified = run("verify", kept, "--json", cache=demo_cache)
    assert (verified.code, verified.document()["problems"]) == (0, [])
    with closing(sqlite3.connect(kept / ".bulkdl/catalogue.sqlite")) as catalogue:
        assert catalogue.execute("PRAGMA integrity_check").fetchone() == ("ok",)
