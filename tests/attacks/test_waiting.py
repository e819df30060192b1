"""Every wait has a limit: `--give-up-after` covers whatever an archive does not do, and Ctrl-C ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Mapping
from pathlib import Path

import pytest

from tests.attacks.hostile import DICOM, JSON, OBJECTS, HostileArchive, asks_for, endpoint_of, silent
from tests.attacks.watching import Ended, Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.faults import Action, Exchange, Seen, answer
from tests.support.full_port import never_accepting
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.processes import tree

MADE_UP = list(instances(series=3, per_series=3))
GIVE_UP = ("--give-up-after", "3s")
WITHIN = 12.0  # the three seconds, the start of the command, and a busy machine


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
OF_LISTS = ("silence", "half a list", "429, come back in a day", "a trickle")
ASKED = {
    **{f"getSeries: {name}": ("getSeries", name) for name in OF_LISTS},
    **{f"getSOPInstanceUIDs: {name}": ("getSOPInstanceUIDs", name) for name in OF_LISTS},
    **{f"getSingleImage: {name}": ("getSingleImage", name) for name in EVERY},
}


async def side_by_side(runs: Mapping[str, Awaitable[Ended]]) -> dict[str, Ended]:
    """The results of several commands that mostly wait, so that they wait together."""
    return dict(zip(runs, await asyncio.gather(*runs.values()), strict=True))


def disorderly(ended: Mapping[str, Ended], *codes: int) -> dict[str, str]:
    """What is wrong with each of these commands, by name."""
    found = {}
    for name, one in ended.items():
        try:
            assert_orderly(one, *codes)
        except AssertionError as error:
            found[name] = str(error)[:200]
    return found


@pytest.mark.parametrize("endpoint", ["getSeries", "getSOPInstanceUIDs", "getSingleImage"])
async def test_what_never_comes_is_given_up(endpoint: str, bulkdl: Watcher, tmp_path: Path) -> None:
    async def give_up(name: str) -> Ended:
        async with HostileArchive(MADE_UP) as archive:
            archive.attack = lambda seen: EVERY[name] if endpoint_of(seen) == endpoint else None
            return await bulkdl.run(*archive.mirror_everything(tmp_path / name, *GIVE_UP), within=WITHIN)

    ended = await side_by_side({key: give_up(name) for key, (asked, name) in ASKED.items() if asked == endpoint})
    assert disorderly(ended, 1, 4) == {}


async def test_objects_that_never_come_fail_alone(bulkdl: Watcher, tmp_path: Path) -> None:
    hostile = [EVERY["silence"], EVERY["headers and silence"], trickle(MADE_UP[2].content, headers=DICOM)]
    victims = {one.sop_uid: action for one, action in zip(MADE_UP, hostile, strict=False)}
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: next(
            (action for uid, action in victims.items() if asks_for(seen, "getSingleImage", uid)), None
        )
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", *GIVE_UP), within=WITHIN)
    assert_orderly(ended, 1)
    assert {instance for _, instance, _ in ended.failures()} == set(victims)
    others = MADE_UP[len(hostile) :]
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(others)


def asking(verb: str, address: str, mirror: Path) -> tuple[str | Path, ...]:
    there = ("--to", mirror, "--progress", "none", *GIVE_UP)
    return {
        "mirror": ("mirror", "--archive", address, "--collection", "MADE-UP", *there),
        "plan": ("plan", "--archive", address, "--collection", "MADE-UP"),
        "query": ("query", "--archive", address, "getCollectionValues"),
    }[verb]


async def test_an_archive_that_never_accepts_is_given_up(bulkdl: Watcher, tmp_path: Path) -> None:
    with never_accepting() as port:
        words = asking("mirror", f"nbia-v1+http://127.0.0.1:{port}/", tmp_path / "mirror")
        ended = await bulkdl.run(*words, within=WITHIN)
    assert_orderly(ended, 4)


@pytest.mark.slow
async def test_plan_and_query_say_within_30_seconds_that_an_archive_never_answered(
    bulkdl: Watcher, tmp_path: Path
) -> None:
    hostile = {"silent": silent(), "failing": answer(b"", status=503), "dead": None}

    async def ask(name: str, verb: str) -> Ended:
        async with HostileArchive(MADE_UP, lambda _: hostile[name]) as archive:
            address = "nbia-v1+http://127.0.0.1:1/" if name == "dead" else archive.address()
            return await bulkdl.run(*asking(verb, address, tmp_path), within=36)

    ended = await side_by_side({f"{verb}, {name}": ask(name, verb) for name in hostile for verb in ("plan", "query")})
    assert disorderly(ended, 4) == {}


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


async def test_ctrl_c_ends_a_stalled_run_within_3_seconds(bulkdl: Watcher, tmp_path: Path) -> None:
    stalled = {name: asyncio.Event() for name in STALLS}

    async def interrupt(name: str) -> Ended:
        endpoint, hostile = STALLS[name]

        def attack(seen: Seen) -> Action | None:
            if endpoint_of(seen) != endpoint:
                return None
            stalled[name].set()
            return hostile

        more = ["--workers", "2"] if "two" in name else []
        more += ["--transport", "zip"] if name == "zips" else []
        async with HostileArchive(MADE_UP, attack) as archive:
            words = archive.mirror_everything(tmp_path / name, *more)
            async with bulkdl.start(*words, honest_processes=3) as running:
                for event in stalled.values():
                    await event.wait()
                await asyncio.sleep(0.3)  # the answers have begun, and stall
                running.interrupt()
                return await running.ended(within=bulkdl.soon())

    ended = await side_by_side({name: interrupt(name) for name in STALLS})
    assert disorderly(ended, 130) == {}
    assert [name for name, one in ended.items() if "resume" not in one.err] == []


@pytest.mark.parametrize("verb", ["mirror", "plan", "query"])
async def test_ctrl_c_ends_the_wait_for_a_connection(verb: str, bulkdl: Watcher, tmp_path: Path) -> None:
    with never_accepting() as port:
        words = asking(verb, f"nbia-v1+http://127.0.0.1:{port}/", tmp_path / "mirror")
        patient = ("--give-up-after", "15m") if verb == "mirror" else ()
        async with bulkdl.start(*words, *patient) as running:
            await asyncio.sleep(2.0)  # nothing can be seen of a connection that is not made
            running.interrupt()
            ended = await running.ended(within=bulkdl.soon())
    assert_orderly(ended, 130)


async def test_bodies_that_trickle_are_given_up_after_the_timeout(bulkdl: Watcher, tmp_path: Path) -> None:
    """Less than 1 kB/s: 100 bytes, five times a second. A body says its length, or does not."""

    def trickling(headers: dict[str, str], first: bytes, *, length: int | None = None) -> Action:
        async def act(exchange: Exchange) -> None:
            framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
            await exchange.send_head(200, {**framing, **headers})
            send = exchange.send_chunk if length is None else exchange.send
            await send(first)
            while True:
                await send(b" " * 100)
                await asyncio.sleep(0.2)

        return act

    of_list, of_object, of_known_length = MADE_UP[3].series_uid, MADE_UP[0], MADE_UP[1]
    async with HostileArchive(MADE_UP) as archive:

        def attack(seen: Seen) -> Action | None:
            if asks_for(seen, "getSOPInstanceUIDs", of_list):
                return trickling(JSON, b"[")
            if asks_for(seen, "getSingleImage", of_object.sop_uid):
                return trickling(DICOM, of_object.content[:200])
            if asks_for(seen, "getSingleImage", of_known_length.sop_uid):
                return trickling(DICOM, of_known_length.content[:200], length=1_000_000)
            return None

        archive.attack = attack
        words = archive.mirror_everything(tmp_path / "mirror", "--timeout", "2s", "--max-attempts", "2")
        ended = await bulkdl.run(*words, within=WITHIN)
    assert_orderly(ended, 1)
    assert {(series, instance) for series, instance, _ in ended.failures()} == {
        (of_list, None),
        (of_object.series_uid, of_object.sop_uid),
        (of_known_length.series_uid, of_known_length.sop_uid),
    }


async def test_a_worker_that_was_stopped_is_ended_and_its_work_is_done_by_others(
    bulkdl: Watcher, tmp_path: Path
) -> None:
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
    assert_orderly(ended, 0)
    assert "did not answer" in ended.err
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)
