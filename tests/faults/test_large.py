"""Large instances: a request that breaks off costs no more than what was still to come; a trickle is given up."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bulkdl.model.reports.base import RunOutcome
from tests.support.bad_archive import DICOM, BadArchive, endpoint_of, start_command
from tests.support.clocks import JumpingClock
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, answer, cut, stall
from tests.support.mirrors import checksums_of, checksums_on_disk
from tests.support.waiting import until

TAG = '"v1"'
CUT_AT = 9_000_000
BUFFERED = 1_000_000  # received, but still in the client's buffer when the connection broke


@cache
def large() -> MadeUp:
    return next(instances(series=1, per_series=1, rows=2600))  # 13.5 MB


class Ranges:
    """getSingleImage with ranges, as RFC 9110 has them; the first answer is cut. `sent` counts bytes of bodies."""

    def __init__(self, one: MadeUp, *, tag: str | None = TAG, cuts: int = 1) -> None:
        self.content = one.content
        self.tag = tag
        self.cuts = cuts
        self.asked: list[str | None] = []
        self.sent = 0

    def __call__(self, seen: Seen) -> Action | None:
        if endpoint_of(seen) != "getSingleImage":
            return None
        wanted = seen.headers.get("range")
        self.asked.append(wanted)
        headers = {**DICOM, "ETag": self.tag} if self.tag else DICOM
        start = 0
        if wanted is not None and seen.headers.get("if-range") == self.tag:
            found = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert found is not None
            start = int(found[1])
        body = self.content[start:]
        if self.cuts:
            self.cuts -= 1
            self.sent += CUT_AT - start
            return cut(body, after=CUT_AT - start, headers=headers)
        self.sent += len(body)
        if start:
            total = len(self.content)
            return answer(body, status=206, headers={**headers, "Content-Range": f"bytes {start}-{total - 1}/{total}"})
        return answer(body, headers=headers)


async def test_what_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    ranges = Ranges(large())
    async with BadArchive([large()], ranges) as archive:
        report = await archive.mirror(tmp_path)
    assert (report.outcome, report.retries) == (RunOutcome.COMPLETE, 1)
    assert ranges.sent <= len(large().content) + BUFFERED
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([large()])
    assert not list((tmp_path / "mirror" / ".bulkdl" / "partial").iterdir())


async def test_what_broke_off_goes_on_in_the_next_run(tmp_path: Path) -> None:
    ranges = Ranges(large())
    async with BadArchive([large()], ranges) as archive:
        report = await archive.mirror(tmp_path, max_attempts=1)
        assert report.outcome is RunOutcome.PARTIAL
        report = await archive.resume(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE
    assert ranges.sent <= len(large().content) + BUFFERED
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([large()])


async def test_without_a_proof_that_it_is_the_same_it_begins_anew(tmp_path: Path) -> None:
    ranges = Ranges(large(), tag=None)
    async with BadArchive([large()], ranges) as archive:
        report = await archive.mirror(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE
    assert ranges.asked == [None, None]
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([large()])


async def test_another_object_by_now_is_taken_from_its_beginning(tmp_path: Path) -> None:
    ranges = Ranges(large())
    async with BadArchive([large()], ranges) as archive:
        await archive.mirror(tmp_path, max_attempts=1)
        changed = replace(large(), content=large().content[:-4] + b"\1\1\1\1")
        ranges.content, ranges.tag = changed.content, '"v2"'
        report = await archive.resume(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([changed])


def part(content: bytes, first: int, *, total: int | None = None, tag: str = TAG) -> Action:
    size = total or len(content)
    headers = {**DICOM, "ETag": tag, "Content-Range": f"bytes {first}-{len(content) - 1}/{size}"}
    return answer(content[first:], status=206, headers=headers)


LYING: dict[str, Callable[[bytes, int], Action]] = {
    "another part": lambda content, first: part(content, first + 5),
    "a part of something longer": lambda content, first: part(content, first, total=len(content) + 9),
    "a part of another object": lambda content, first: part(content, first, tag='"v2"'),
    "no range": lambda content, first: answer(content[first:], status=206, headers={**DICOM, "ETag": TAG}),
    "416": lambda *_: answer(b"", status=416),
    "400": lambda *_: answer(b"", status=400),
}


@pytest.mark.parametrize("name", LYING)
async def test_an_archive_that_gets_ranges_wrong_is_asked_for_the_whole(tmp_path: Path, name: str) -> None:
    ranges = Ranges(large())

    def fault(seen: Seen) -> Action | None:
        if "range" in seen.headers:
            ranges.asked.append(seen.headers["range"])
            return LYING[name](large().content, int(seen.headers["range"][6:-1]))
        return ranges(seen)

    async with BadArchive([large()], fault) as archive:
        report = await archive.mirror(tmp_path)
    assert (report.outcome, report.retries) == (RunOutcome.COMPLETE, 2)
    assert [bool(asked) for asked in ranges.asked] == [False, True, False]
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([large()])


async def test_bytes_that_were_damaged_on_the_disk_meanwhile_are_not_built_upon(tmp_path: Path) -> None:
    ranges = Ranges(large())
    async with BadArchive([large()], ranges) as archive:
        await archive.mirror(tmp_path, max_attempts=1)
        (partial,) = (tmp_path / "mirror" / ".bulkdl" / "partial").glob("*.part")
        partial.write_bytes(bytes(132) + partial.read_bytes()[132:])
        report = await archive.resume(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([large()])


@pytest.mark.parametrize("rows", [8, 1600], ids=["small", "large"])
async def test_a_trickle_is_as_dead_as_silence(tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one, clock = next(instances(series=1, per_series=1, rows=rows)), JumpingClock(monkeypatch)

    def fault(seen: Seen) -> Action | None:
        is_first = endpoint_of(seen) == "getSingleImage" and seen.ordinal == 1
        return clock.slowly(1, one.content, piece_bytes=10) if is_first else None

    async with BadArchive([one], fault) as archive:
        report = await archive.mirror(tmp_path, workers=1, give_up_after_seconds=3600)
    assert (report.outcome, report.retries) == (RunOutcome.COMPLETE, 1)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([one])


async def test_a_large_file_may_take_as_long_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, clock = next(instances(series=1, per_series=1, rows=1600)), JumpingClock(monkeypatch)  # 5 MB

    def fault(seen: Seen) -> Action | None:
        is_it = endpoint_of(seen) == "getSingleImage"
        return clock.slowly(20, one.content, piece_bytes=1 << 18) if is_it else None

    async with BadArchive([one], fault) as archive:
        report = await archive.mirror(tmp_path, workers=1, give_up_after_seconds=3600)
    assert (report.outcome, report.retries) == (RunOutcome.COMPLETE, 0)
    assert hashlib.sha256(one.content).hexdigest() in checksums_on_disk(tmp_path / "mirror").values()


async def test_a_killed_run_goes_on_from_what_was_synced(tmp_path: Path) -> None:
    one = next(instances(series=1, per_series=1, rows=3400))  # 23 MB
    notes = tmp_path / "mirror" / ".bulkdl" / "partial"
    ranges = Ranges(one, cuts=0)

    async with BadArchive([one]) as archive:

        def first(seen: Seen) -> Action | None:
            if endpoint_of(seen) != "getSingleImage":
                return None
            return stall(asyncio.Event(), one.content, after=20_000_000, headers={**DICOM, "ETag": TAG})

        archive.fault = first
        options = ("--to", tmp_path / "mirror", "--progress", "none")
        words = ("mirror", "--archive", archive.address, "--series", one.series_uid, *options)
        process = await start_command(*words, cache=tmp_path / "cache")
        await until(lambda: list(notes.glob("*.json")))
        process.kill()
        await process.communicate()
        archive.fault = ranges
        report = await archive.resume(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE
    (asked,) = ranges.asked
    assert asked is not None
    assert 16_000_000 < int(asked[6:-1]) <= 20_000_000
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([one])
