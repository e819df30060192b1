"""A disk that fills, or cannot be written: exit 5, one line, a correct journal; with more room the run continues."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from bulkdl.errors import DiskFull, MirrorUnwritable
from bulkdl.model.reports.base import RunOutcome
from tests.support.bad_archive import BadArchive, command, endpoint_of, no_fault, start_command
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, stall
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.small_disks import mounted, remount

MADE_UP = list(instances(series=2, per_series=4))


class SilentOnSizes(BadArchive):
    """It does not give the sizes of its Series, so a run cannot know before that they do not fit."""

    def rows(self, of_series: list[MadeUp]) -> list[dict[str, object]]:  # type: ignore[override]
        return [{name: value for name, value in row.items() if name != "FileSize"} for row in super().rows(of_series)]


def arguments(archive: BadArchive, mirror: Path, *more: str) -> tuple[str | Path, ...]:
    series = [word for uid in {one.series_uid for one in archive.made_up} for word in ("--series", uid)]
    quiet = ("--progress", "none", "--yes", *more)
    return ("mirror", "--archive", archive.address, *series, "--to", mirror, *quiet)


def assert_true(mirror: Path, made_up: list[MadeUp]) -> dict[str, str]:
    """Every visible file is right, and all that the journal calls held is there; what is held."""
    visible, held, wanted = checksums_on_disk(mirror), journalled_checksums(mirror), checksums_of(made_up)
    assert visible.items() <= wanted.items()
    assert held.items() <= visible.items()
    return held


@pytest.mark.parametrize("transport", ["single", "zip"])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_disk_that_fills_in_mid_run(tmp_path: Path, transport: str, workers: str) -> None:
    made_up = list(instances(series=4, per_series=20, rows=700))  # 78 MB
    options = ("--transport", transport, "--workers", workers, "--concurrency", "8")
    with mounted(tmp_path / "disk", "size=60m") as disk:
        mirror = disk / "mirror"
        async with SilentOnSizes(made_up) as archive:
            done = await command(*arguments(archive, mirror, *options), cache=tmp_path / "cache")
            assert done.code == 5
            assert len(done.err.splitlines()) == 1
            assert "full" in done.err or "No space" in done.err
            held = assert_true(mirror, made_up)
            remount(disk, "size=200m")
            before = archive.object_requests()
            done = await command("resume", mirror, *options, "--progress", "none", cache=tmp_path / "cache")
            assert (done.code, done.err) == (0, "")
            if transport == "single":
                assert archive.object_requests() - before <= len(made_up) - len(held)
        assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(made_up)


async def test_what_does_not_fit_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=1))
    with mounted(tmp_path / "disk", "size=10m") as disk:
        async with BadArchive(made_up) as archive:
            archive.rows = lambda of_series: [  # type: ignore[method-assign]
                {**row, "FileSize": 50_000_000} for row in BadArchive.rows(archive, of_series)
            ]
            done = await command(*arguments(archive, disk / "mirror"), cache=tmp_path / "cache")
    assert done.code == 5
    assert "are missing" in done.err
    assert len(done.err.splitlines()) == 1


async def test_inodes_run_out(tmp_path: Path) -> None:
    made_up = list(instances(series=2, per_series=40))
    with mounted(tmp_path / "disk", "size=60m,nr_inodes=60") as disk:
        async with SilentOnSizes(made_up) as archive:
            done = await command(*arguments(archive, disk / "mirror"), cache=tmp_path / "cache")
            assert done.code == 5
            assert len(done.err.splitlines()) == 1
            assert_true(disk / "mirror", made_up)
            remount(disk, "nr_inodes=1000")
            done = await command("resume", disk / "mirror", "--progress", "none", cache=tmp_path / "cache")
            assert done.code == 0
        assert checksums_on_disk(disk / "mirror") == checksums_of(made_up)


async def test_a_file_system_that_turns_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=60m") as disk:
        async with BadArchive(MADE_UP) as archive:
            done = await command(*arguments(archive, disk / "mirror"), cache=tmp_path / "cache")
            assert done.code == 0
            more = list(instances(series=1, per_series=3, seed="more"))
            archive.made_up += more
            remount(disk, "ro")
            done = await command(*arguments(archive, disk / "mirror"), cache=tmp_path / "cache")
            assert done.code == 5
            assert len(done.err.splitlines()) == 1
            remount(disk, "rw")
            done = await command(*arguments(archive, disk / "mirror"), cache=tmp_path / "cache")
            assert done.code == 0
        assert checksums_on_disk(disk / "mirror") == checksums_of([*MADE_UP, *more])


async def test_too_many_open_files_are_not_blamed_on_the_archive(tmp_path: Path) -> None:
    """The command may open two more files when it lists the instances; each request in flight needs a connection."""
    made_up = list(instances(series=1, per_series=60))
    async with BadArchive(made_up) as archive:

        def fault(seen: Seen) -> Action | None:
            match endpoint_of(seen):
                case "getSOPInstanceUIDs":
                    command = psutil.Process(process.pid)
                    most = command.num_fds() + 2
                    command.rlimit(psutil.RLIMIT_NOFILE, (most, most))
                    return None
                case "getSingleImage":
                    return stall(asyncio.Event())  # so that no connection is ever free for the next request
                case _:
                    return None

        archive.fault = fault
        words = arguments(archive, tmp_path / "mirror", "--concurrency", "60", "--transport", "single")
        process = await start_command(*words, cache=tmp_path / "cache")
        _, err = await process.communicate()
        assert process.returncode == 5, err
        assert "open files" in err.decode()
        assert len(err.splitlines()) == 1
        assert_true(tmp_path / "mirror", made_up)
        archive.fault = no_fault
        report = await archive.resume(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)


async def test_a_folder_that_somebody_made_a_file_of(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        (tmp_path / "mirror").mkdir()
        (tmp_path / "mirror" / MADE_UP[0].collection).write_text("mine")
        with pytest.raises(MirrorUnwritable):
            await archive.mirror(tmp_path)
        (tmp_path / "mirror" / MADE_UP[0].collection).unlink()
        report = await archive.resume(tmp_path)
    assert report.outcome is RunOutcome.COMPLETE


async def test_a_journal_that_cannot_grow_is_true_all_the_same(tmp_path: Path) -> None:
    """The disk fills for the journal alone: the run ends, and what it could not note is adopted by the next."""
    made_up = list(instances(series=2, per_series=20))
    with mounted(tmp_path / "disk", "size=8m") as disk:
        mirror = disk / "mirror"
        async with BadArchive(made_up) as archive:
            ballast = disk / "ballast"
            archive.fault = lambda seen: _fill(ballast) if seen.number == 30 else None
            with pytest.raises(DiskFull):
                await archive.mirror(disk)
            assert_true(mirror, made_up)
            ballast.unlink()
            archive.fault = lambda _: None
            report = await archive.resume(disk)
        assert report.outcome is RunOutcome.COMPLETE
        assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(made_up)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
