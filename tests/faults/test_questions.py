"""Every way in which a list of an archive can fail: cut, broken, empty, or shorter than the archive's own count."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkdl.errors import AccessDenied, ArchiveUnreachable
from bulkdl.model.events import ArchiveDown, ArchiveUp, Event
from bulkdl.model.reports.base import RunOutcome
from tests.support.bad_archive import JSON, BadArchive, endpoint_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer, cut, drop, stall, zipped
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=2, per_series=4))
VICTIM = MADE_UP[0].series_uid
OF_VICTIM = [one for one in MADE_UP if one.series_uid == VICTIM]
LIST = json.dumps([{"SOPInstanceUID": one.sop_uid} for one in OF_VICTIM]).encode()

Fault = Callable[[Seen], "Action | None"]


def text(body: bytes | str, kind: str = "application/json") -> Action:
    content = body.encode() if isinstance(body, str) else body
    return answer(content, headers={"Content-Type": kind})


BROKEN: dict[str, tuple[Action, str]] = {
    "cut JSON": (text(LIST[:-20]), "unexpected-answer"),
    "no closing bracket": (text(LIST[:-1]), "unexpected-answer"),
    "rubbish": (text(b"\x00\xff\xfe[[["), "unexpected-answer"),
    "a page": (text("<html>Welcome</html>", "text/html"), "unexpected-answer"),
    "a page that calls itself JSON": (text("<html>Welcome</html>"), "unexpected-answer"),
    "a text": (text('"maintenance"'), "unexpected-answer"),
    "a number": (text("42"), "unexpected-answer"),
    "numbers": (text("[1, 2]"), "unexpected-answer"),
    "two lists": (text(b"[][]"), "unexpected-answer"),
    "a body that is cut": (cut(LIST, after=30, headers=JSON), "short-body"),
    "a chunked body that is cut": (cut(LIST, after=30, chunked=True, headers=JSON), "short-body"),
    "gzip that is cut": (zipped(LIST, headers=JSON, keep=30), "short-body"),
    "dropped": (drop(), "connection-lost"),
    "500": (answer(b"", status=500), "server-error"),
    "503": (answer(b"", status=503), "server-error"),
    "429": (answer(b"", status=429, headers={"Retry-After": "1"}), "too-many-requests"),
}


def failing(endpoint: str, action: Action, *, times: int) -> Fault:
    def fault(seen: Seen) -> Action | None:
        is_it = endpoint_of(seen) == endpoint and seen.query.get("SeriesInstanceUID") == VICTIM
        return action if is_it and seen.ordinal <= times else None

    return fault


@pytest.mark.parametrize("endpoint", ["getSeries", "getSOPInstanceUIDs"])
@pytest.mark.parametrize("name", BROKEN)
async def test_a_list_that_fails_in_passing_is_asked_for_again(tmp_path: Path, name: str, endpoint: str) -> None:
    async with BadArchive(MADE_UP, failing(endpoint, BROKEN[name][0], times=1)) as archive:
        report = await archive.mirror(tmp_path)
        assert (report.outcome, report.retries) == (RunOutcome.COMPLETE, 1)
        assert report.requests == len(archive.server.requests)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


@pytest.mark.parametrize("name", BROKEN)
async def test_a_series_whose_list_fails_is_named_and_the_others_are_complete(tmp_path: Path, name: str) -> None:
    action, code = BROKEN[name]
    async with BadArchive(MADE_UP, failing("getSOPInstanceUIDs", action, times=10**6)) as archive:
        report = await archive.mirror(tmp_path, max_attempts=3)
        asked = [seen for seen in archive.asked("getSOPInstanceUIDs") if seen.query["SeriesInstanceUID"] == VICTIM]
    (failure,) = report.failures
    assert (failure.series, failure.instance, failure.error, failure.attempts) == (VICTIM, None, code, 3)
    assert len(asked) == 3
    assert report.outcome is RunOutcome.PARTIAL
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP[4:])


TOLERATED: dict[str, Action] = {
    "nulls among the rows": text(b"[null," + LIST[1:-1] + b",null]"),
    "rows twice": text(b"[" + LIST[1:-1] + b"," + LIST[1:]),
    "a row without a UID": text(b'[{"SOPInstanceUID":null},' + LIST[1:]),
    "a row with a mistyped UID": text(b'[{"SOPInstanceUID":17},{"SOPInstanceUID":"../../x"},' + LIST[1:]),
    "gzip": zipped(LIST, headers=JSON),
    "another type": text(LIST, "text/plain"),
}


@pytest.mark.parametrize("name", TOLERATED)
async def test_odd_lists_that_hold_all_that_is_needed_are_understood(tmp_path: Path, name: str) -> None:
    async with BadArchive(MADE_UP, failing("getSOPInstanceUIDs", TOLERATED[name], times=10**6)) as archive:
        report = await archive.mirror(tmp_path)
    assert (report.outcome, report.retries) == (RunOutcome.COMPLETE, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_a_single_object_where_a_list_was_due_is_a_list_of_one(tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=1))
    single = text(json.dumps({"SOPInstanceUID": made_up[0].sop_uid}))
    async with BadArchive(made_up, failing("getSOPInstanceUIDs", single, times=10**6)) as archive:
        report = await archive.mirror(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE


SHORT: dict[str, tuple[Action, int]] = {
    "empty": (text("[]"), 0),
    "nothing at all": (text(b""), 0),
    "null": (text("null"), 0),
    "one of four": (text(json.dumps([{"SOPInstanceUID": OF_VICTIM[0].sop_uid}])), 1),
}


@pytest.mark.parametrize("name", SHORT)
async def test_a_list_that_is_too_short_once_is_requested_again(tmp_path: Path, name: str) -> None:
    async with BadArchive(MADE_UP, failing("getSOPInstanceUIDs", SHORT[name][0], times=1)) as archive:
        report = await archive.mirror(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


@pytest.mark.parametrize("name", SHORT)
async def test_a_list_that_stays_too_short_is_never_a_silent_success(tmp_path: Path, name: str) -> None:
    action, listed = SHORT[name]
    async with BadArchive(MADE_UP, failing("getSOPInstanceUIDs", action, times=10**6)) as archive:
        report = await archive.mirror(tmp_path)
    (failure,) = report.failures
    assert (failure.series, failure.instance, failure.error) == (VICTIM, None, "short-at-source")
    assert report.outcome is RunOutcome.PARTIAL
    assert report.instances.fetched == 4 + listed
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([*OF_VICTIM[:listed], *MADE_UP[4:]])


@pytest.mark.parametrize("status", [401, 403])
async def test_an_instance_that_is_refused_fails_alone(tmp_path: Path, status: int) -> None:
    def fault(seen: Seen) -> Action | None:
        is_last = seen.query.get("SOPInstanceUID") == MADE_UP[-1].sop_uid
        return answer(b"", status=status) if is_last else None

    async with BadArchive(MADE_UP, fault) as archive:
        report = await archive.mirror(tmp_path, concurrency=1)
    assert [(failure.instance, failure.error) for failure in report.failures] == [
        (MADE_UP[-1].sop_uid, AccessDenied.code)
    ]
    held = journalled_checksums(tmp_path / "mirror")
    assert checksums_on_disk(tmp_path / "mirror") == held == checksums_of(MADE_UP[:-1])


class Leaving:
    """Makes an archive go away at its n-th request; `gone` and `noticed` tell when."""

    def __init__(self, archive: BadArchive, *, at: int) -> None:
        self._archive = archive
        self._at = at
        self.leave = asyncio.Event()
        self.noticed = asyncio.Event()
        self.events: list[Event] = []
        archive.fault = self._fault

    def _fault(self, seen: Seen) -> Action | None:
        if seen.number == self._at:
            self.leave.set()
            return stall(asyncio.Event())
        return None

    def sink(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ArchiveDown):
            self.noticed.set()

    async def go(self, *, come_back: bool) -> None:
        await self.leave.wait()
        await self._archive.server.go_away()
        await self.noticed.wait()
        if come_back:
            await self._archive.server.come_back()


async def test_an_archive_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive, asyncio.TaskGroup() as group:
        leaving = Leaving(archive, at=8)
        group.create_task(leaving.go(come_back=True))
        report = await archive.mirror(tmp_path, sink=leaving.sink)
    assert report.outcome is RunOutcome.COMPLETE
    assert [type(event) for event in leaving.events if isinstance(event, (ArchiveDown, ArchiveUp))][-1] is ArchiveUp
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_an_archive_that_stays_away_ends_the_run_with_everything_kept(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        leaving = Leaving(archive, at=8)
        async with asyncio.TaskGroup() as group:
            group.create_task(leaving.go(come_back=False))
            with pytest.raises(ArchiveUnreachable, match="saved"):
                await archive.mirror(tmp_path, sink=leaving.sink, concurrency=1, give_up_after_seconds=0.3)
        held = journalled_checksums(tmp_path / "mirror")
        assert 0 < len(held) < len(MADE_UP)
        assert checksums_on_disk(tmp_path / "mirror") == held
        await archive.server.come_back()
        before = archive.object_requests()
        report = await archive.resume(tmp_path)
        assert report.outcome is RunOutcome.COMPLETE
        assert archive.object_requests() - before == len(MADE_UP) - len(held)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_an_archive_that_fails_everybody_is_away_and_no_instance_is_blamed(tmp_path: Path) -> None:
    made_up = list(instances(series=2, per_series=20))
    is_object = {"getSingleImage"}
    async with BadArchive(made_up, lambda seen: drop() if endpoint_of(seen) in is_object else None) as archive:
        with pytest.raises(ArchiveUnreachable):
            await archive.mirror(tmp_path, concurrency=16, max_attempts=8, give_up_after_seconds=0.5)
        is_object.clear()
        report = await archive.resume(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)
