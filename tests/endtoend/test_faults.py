"""Faults of the network and the disk: the command ends with the right exit code and one line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkdl.model.access import Access
from bulkdl.model.events import ArchiveDown, Event
from bulkdl.model.reports.base import RunOutcome
from tests.support.bad_archive import BadArchive, command, endpoint_of
from tests.support.clocks import JumpingClock
from tests.support.commands import async_process_of, environment
from tests.support.dicom_files import instances
from tests.support.faults import Action, FaultyServer, Seen, answer, self_signed
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.nowhere import UNKNOWN_HOST, refusing_port

ROOT = Path(__file__).parents[2]
MADE_UP = list(instances(series=2, per_series=4))
MORE = list(instances(series=1, per_series=2, seed="more"))
VICTIM = MADE_UP[2]


def words(address: str, mirror: Path) -> list[str | Path]:
    uids = dict.fromkeys(one.series_uid for one in [*MADE_UP, *MORE])
    series = [word for uid in uids for word in ("--series", uid)]
    quiet = ("--progress", "none", "--yes", "--transport", "single", "--workers", "1")
    return ["mirror", "--archive", address, *series, "--to", mirror, *quiet]


UNREACHABLE: dict[str, tuple[Callable[[BadArchive, int], tuple[str, tuple[str, ...]]], str]] = {
    "refused": (lambda _, port: (f"nbia-v1+http://127.0.0.1:{port}/", ()), "cannot be reached"),
    "no such host": (lambda *_: (f"nbia-v1+http://{UNKNOWN_HOST}/", ()), "is not known"),
    "proxy refused": (lambda one, port: (one.address, ("--proxy", f"http://127.0.0.1:{port}")), "the proxy"),
}


@pytest.mark.parametrize("name", UNREACHABLE)
async def test_an_unreachable_archive_is_exit_4_and_loses_nothing(tmp_path: Path, name: str) -> None:
    reach, said = UNREACHABLE[name]
    mirror = tmp_path / "mirror"
    with refusing_port() as port:
        async with BadArchive(MADE_UP) as archive:
            done = await command(*words(archive.address, mirror), cache=tmp_path / "cache")
            assert done.code in {0, 1}  # the archive does not have the third Series yet
            address, more = reach(archive, port)
            done = await command(*words(address, mirror), *more, "--give-up-after", "1s", cache=tmp_path / "cache")
    assert (done.code, len(done.err.splitlines())) == (4, 1), done.err
    assert said in done.err
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(MADE_UP)


async def test_an_untrusted_certificate_is_exit_4_without_waiting(tmp_path: Path) -> None:
    async with FaultyServer(lambda _: answer(b"[]"), tls=self_signed()) as server:
        done = await command(*words(f"nbia-v1+{server.url}", tmp_path / "mirror"), cache=tmp_path / "cache")
        assert server.requests == []
    assert (done.code, len(done.err.splitlines())) == (4, 1), done.err
    assert "is not trusted" in done.err


async def on_failing_disk(failure: str, tmp_path: Path, *arguments: object) -> tuple[int | None, str]:
    """The exit code and standard error of `bulkdl` on a disk that fails in this way."""
    process = await async_process_of(
        (failure, *map(str, arguments)), environment(tmp_path / "cache"), module="tests.support.failing_disk"
    )
    _, err = await process.communicate()
    return process.returncode, err.decode()


@pytest.mark.parametrize("point", ["write", "fsync", "rename"])
@pytest.mark.parametrize("error", ["EDQUOT", "EIO", "EROFS"])
async def test_a_failing_disk_is_exit_5_and_the_next_run_completes_the_mirror(
    tmp_path: Path, error: str, point: str
) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive([*MADE_UP, *MORE]) as archive:
        code, err = await on_failing_disk(f"{error}:{point}:5", tmp_path, *words(archive.address, mirror))
        assert (code, len(err.splitlines())) == (5, 1), err
        visible, wanted = checksums_on_disk(mirror), checksums_of([*MADE_UP, *MORE])
        assert visible.items() <= wanted.items()
        if (mirror / ".bulkdl" / "journal.sqlite").exists():
            assert journalled_checksums(mirror).items() <= visible.items()
        done = await command(*words(archive.address, mirror), cache=tmp_path / "cache")
        assert (done.code, done.err) == (0, "")
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == wanted


@pytest.mark.parametrize("error", ["EINVAL", "ENOTSUP", "ENOSYS", "EBADF"])
async def test_a_mirror_is_complete_where_folders_cannot_be_synced(tmp_path: Path, error: str) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive([*MADE_UP, *MORE]) as archive:
        code, err = await on_failing_disk(f"{error}:fsync-folder:1", tmp_path, *words(archive.address, mirror))
    assert (code, err) == (0, "")
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of([*MADE_UP, *MORE])


async def test_a_folder_whose_sync_fails_is_named(tmp_path: Path) -> None:
    """EIO may be a failing drive as well as a file system without this call: it is never ignored."""
    async with BadArchive(MADE_UP) as archive:
        code, err = await on_failing_disk("EIO:fsync-folder:1", tmp_path, *words(archive.address, tmp_path / "mirror"))
    assert (code, len(err.splitlines())) == (5, 1), err
    assert f"cannot sync the folder {tmp_path}: Input/output error" in err


SLOW: dict[str, Callable[[JumpingClock], Action]] = {
    "silent": lambda clock: clock.stall(Access().answer_seconds),
    "stalled after the headers": lambda clock: clock.stall(Access().silence_seconds, VICTIM.content, after=0),
    "stalled in the body": lambda clock: clock.stall(Access().silence_seconds, VICTIM.content, after=300),
    "a trickle": lambda clock: clock.slowly(10, VICTIM.content, piece_bytes=1),
}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("times", [1, 10**6], ids=["once", "always"])
async def test_an_instance_that_arrives_too_slowly_times_out(
    tmp_path: Path, name: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = JumpingClock(monkeypatch)

    def fault(seen: Seen) -> Action | None:
        is_it = endpoint_of(seen) == "getSingleImage" and seen.query["SOPInstanceUID"] == VICTIM.sop_uid
        return SLOW[name](clock) if is_it and seen.ordinal <= times else None

    async with BadArchive(MADE_UP, fault) as archive:
        report = await archive.mirror(tmp_path, max_attempts=3, concurrency=1, give_up_after_seconds=3600)
        asked = [s for s in archive.asked("getSingleImage") if s.query["SOPInstanceUID"] == VICTIM.sop_uid]
    if times == 1:
        assert (report.outcome, report.retries, len(asked)) == (RunOutcome.COMPLETE, 1, 2)
        return
    (failure,) = report.failures
    assert (failure.instance, failure.error, failure.attempts) == (VICTIM.sop_uid, "timed-out", 3)
    assert len(asked) == 3
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([one for one in MADE_UP if one is not VICTIM])


async def test_an_archive_that_refuses_at_first_is_retried_and_counted(tmp_path: Path) -> None:
    down = asyncio.Event()

    def sink(event: Event) -> None:
        if isinstance(event, ArchiveDown):
            down.set()

    async with BadArchive(MADE_UP) as archive, asyncio.TaskGroup() as group:
        await archive.server.go_away()

        async def return_later() -> None:
            await down.wait()
            await archive.server.come_back()

        group.create_task(return_later())
        report = await archive.mirror(tmp_path, sink=sink)
    assert report.outcome is RunOutcome.COMPLETE
    assert report.retries >= 1
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)
