"""Every wait has a bound: `--give-up-after` covers whatever an archive does not do, and Ctrl-C ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attacks.hostile import DICOM, JSON, OBJECTS, HostileArchive, endpoint_of, silent
from tests.attacks.watching import Watcher, assert_orderly, tree
from tests.support.dicom_files import instances
from tests.support.faults import Action, Exchange, Seen, answer
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=3, per_series=3))
VICTIM = MADE_UP[1]
GIVE_UP = ("--give-up-after", "3s")
WITHIN = 12.0  # the three seconds, the start of the command, and a busy machine
INTERRUPTED_WITHIN = 3.0
L3 = pytest.mark.xfail(strict=True, reason="L3: the wait is not counted against --give-up-after")
L4 = pytest.mark.xfail(strict=True, reason="L4: the wait is not ended by a stop")
R20 = pytest.mark.xfail(strict=True, reason="R20: a trickle is waited for to its end")


def day(status: int) -> Action:
    return answer(b"", status=status, headers={"Retry-After": "86400"})


def trickle(content: bytes, *, headers: dict[str, str], endless: bytes | None = None) -> Action:
    """A body of which a byte comes ten times a second, for ever."""

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Transfer-Encoding": "chunked", **headers})
        for number in range(1 << 30):
            await exchange.send_chunk(content[number : number + 1] or endless or b"\0")
            await asyncio.sleep(0.1)

    return act


EVERY: dict[str, Action] = {
    "silence": silent(),
    "headers and silence": silent(head=True),
    "half a list": silent(head=True, body=b'[{"SOPInstanceUID":"1.2'),
    "429, come back in a day": day(429),
    "503, come back in a day": day(503),
    "503": answer(b"", status=503),
    "a trickle": trickle(b"[", headers=JSON, endless=b" "),
}
FAILS_FOR = {
    "getSeries": {"silence", "headers and silence", "half a list", "a trickle"},
    "getSOPInstanceUIDs": {"silence", "headers and silence", "half a list", "a trickle"},
    "getSingleImage": {
        *("silence", "headers and silence", "half a list"),
        *("429, come back in a day", "503, come back in a day"),
    },
}


def cases() -> list[object]:
    return [
        pytest.param(endpoint, name, marks=[L3] if name in fails else [], id=f"{endpoint}, {name}")
        for endpoint, fails in FAILS_FOR.items()
        for name in EVERY
        if endpoint == "getSingleImage" or name in {"silence", "half a list", "429, come back in a day", "a trickle"}
    ]


@pytest.mark.parametrize(("endpoint", "name"), cases())
async def test_what_never_comes_is_given_up(endpoint: str, name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: EVERY[name] if endpoint_of(seen) == endpoint else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", *GIVE_UP), within=WITHIN)
    assert_orderly(ended, 1, 4)


@L3
@pytest.mark.parametrize("name", ["silence", "headers and silence", "a trickle"])
async def test_one_object_that_never_comes_fails_alone(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    hostile = EVERY[name] if name != "a trickle" else trickle(VICTIM.content, headers=DICOM)
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: hostile if seen.query.get("SOPInstanceUID") == VICTIM.sop_uid else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", *GIVE_UP), within=WITHIN)
    assert_orderly(ended, 1)
    assert [instance for _, instance, _ in ended.failures()] == [VICTIM.sop_uid]
    others = [one for one in MADE_UP if one is not VICTIM]
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(others)


@contextmanager
def never_accepting() -> Iterator[int]:
    """A port whose queue of connections is full, so that a new one is never made."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port: int = listening.getsockname()[1]
        waiting = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.settimeout(0)
                one.connect_ex(("127.0.0.1", port))
                waiting.append(one)
            yield port
        finally:
            for one in waiting:
                one.close()


def asking(verb: str, address: str, mirror: Path) -> tuple[str | Path, ...]:
    there = ("--to", mirror, "--progress", "none", *GIVE_UP)
    return {
        "mirror": ("mirror", "--archive", address, "--collection", "MADE-UP", *there),
        "plan": ("plan", "--archive", address, "--collection", "MADE-UP"),
        "query": ("query", "--archive", address, "getCollectionValues"),
    }[verb]


@L3
async def test_an_archive_that_never_accepts_is_given_up(bulkdl: Watcher, tmp_path: Path) -> None:
    with never_accepting() as port:
        words = asking("mirror", f"nbia-v1+http://127.0.0.1:{port}/", tmp_path / "mirror")
        ended = await bulkdl.run(*words, within=WITHIN)
    assert_orderly(ended, 4)


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="L3: plan and query wait 15 minutes for an archive that never answered")
@pytest.mark.parametrize("name", ["dead", "silent", "failing"])
async def test_plan_and_query_say_within_30_seconds_that_an_archive_never_answered(
    name: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    hostile = silent() if name == "silent" else answer(b"", status=503)
    async with HostileArchive(MADE_UP, lambda _: hostile) as archive:
        address = "nbia-v1+http://127.0.0.1:1/" if name == "dead" else archive.address()
        runs = [bulkdl.run(*asking(verb, address, tmp_path), within=36) for verb in ("plan", "query")]
        for ended in await asyncio.gather(*runs):
            assert_orderly(ended, 4)


STALLS: dict[str, tuple[str, Action]] = {
    "objects": ("getSingleImage", silent()),
    "bodies": ("getSingleImage", silent(head=True, body=b"DICM")),
    "large bodies": ("getSingleImage", silent(head=True, body=bytes(5 << 20), length=9 << 20)),
    "lists": ("getSOPInstanceUIDs", silent()),
    "half a list": ("getSOPInstanceUIDs", silent(head=True, body=b"[{")),
    "records": ("getSeries", silent()),
    "zips": ("getImageWithMD5Hash", silent(head=True, body=b"PK")),
    "objects that come back in a day": ("getSingleImage", day(503)),
    "objects of two processes": ("getSingleImage", silent()),
}
HEARD_TODAY = {"objects that come back in a day"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in HEARD_TODAY else [L4]) for name in STALLS])
async def test_ctrl_c_ends_a_stalled_run_within_3_seconds(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    endpoint, hostile = STALLS[name]
    reached = asyncio.Event()

    def attack(seen: Seen) -> Action | None:
        if endpoint_of(seen) != endpoint:
            return None
        reached.set()
        return hostile

    more = ["--workers", "2"] if "two" in name else []
    more += ["--transport", "zip"] if name == "zips" else []
    async with HostileArchive(MADE_UP, attack) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", *more)
        async with bulkdl.start(*words, honest_processes=3) as running:
            await reached.wait()
            await asyncio.sleep(0.3)  # the answer has begun, and stalls
            running.interrupt()
            ended = await running.ended(within=INTERRUPTED_WITHIN + 0.5)
    assert_orderly(ended, 130)
    assert "resume" in ended.err


@pytest.mark.parametrize("verb", [pytest.param("mirror", marks=L4), "plan", "query"])
async def test_ctrl_c_ends_the_wait_for_a_connection(verb: str, bulkdl: Watcher, tmp_path: Path) -> None:
    with never_accepting() as port:
        words = asking(verb, f"nbia-v1+http://127.0.0.1:{port}/", tmp_path / "mirror")
        async with bulkdl.start(*words) as running:
            await asyncio.sleep(2.0)  # nothing can be seen of a connection that is not made
            running.interrupt()
            ended = await running.ended(within=INTERRUPTED_WITHIN + 0.5)
    assert_orderly(ended, 130)


@R20
@pytest.mark.parametrize("name", ["an object", "a list"])
async def test_a_body_that_trickles_is_given_up_after_the_timeout(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    """More than the lowest rate of old, less than 1 kB/s: 100 bytes, five times a second."""

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Transfer-Encoding": "chunked", **(DICOM if name == "an object" else JSON)})
        await exchange.send_chunk(VICTIM.content[:200] if name == "an object" else b"[")
        while True:
            await exchange.send_chunk(b" " * 100)
            await asyncio.sleep(0.2)

    async with HostileArchive(MADE_UP) as archive:
        endpoint = "getSingleImage" if name == "an object" else "getSOPInstanceUIDs"
        victims = {VICTIM.sop_uid, VICTIM.series_uid} if name == "a list" else {VICTIM.sop_uid}
        archive.attack = lambda seen: (
            act if endpoint_of(seen) == endpoint and victims & {*seen.query.values()} else None
        )
        words = archive.mirror_everything(tmp_path / "mirror", "--timeout", "2s", "--max-attempts", "2")
        ended = await bulkdl.run(*words, within=WITHIN)
    assert_orderly(ended, 1)
    assert {series for series, _, _ in ended.failures()} == {VICTIM.series_uid}


@pytest.mark.xfail(strict=True, reason="R20, L3: a worker that is stopped is waited for without a word")
async def test_a_worker_that_was_stopped_is_told(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=12, per_series=5))
    reached, opened = asyncio.Event(), asyncio.Event()
    async with HostileArchive(made_up) as archive:

        def held(seen: Seen) -> Action | None:
            if endpoint_of(seen) not in OBJECTS:
                return None
            reached.set()

            async def act(exchange: Exchange) -> None:
                await opened.wait()
                await archive.right(seen)(exchange)

            return act

        archive.attack = held
        more = ("--workers", "2", *GIVE_UP, "--progress", "plain")
        words = archive.mirror_everything(tmp_path / "mirror", *more)
        async with bulkdl.start(*words, honest_processes=3) as running:
            await reached.wait()
            while len(workers := tree(running.process.pid)) < 2:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.05)
            os.kill(workers[-1], signal.SIGSTOP)
            opened.set()
            ended = await running.ended(within=WITHIN + 3)
            assert_orderly(ended, 0, 1, 4, 5)
