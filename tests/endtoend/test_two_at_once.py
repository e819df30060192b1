"""One process at a time writes to a mirror. A second one is refused by name, and a dead process does not count."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.commands import Process, RunningArchive, run, serve, start
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.mirrors import checksums_of, checksums_on_disk

QUIET = ("--progress", "none", "--json")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[MadeUp]]:
    folder = tmp_path_factory.mktemp("archive")
    return folder, write_folder(folder, instances(series=4, per_series=15))


@pytest.fixture
def archive(made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path) -> Iterator[RunningArchive]:
    with serve(made_up[0], cache=cache, log=tmp_path / "access.jsonl") as running:
        yield running


@contextmanager
def at_work(mirror: Path, archive: RunningArchive, cache: Path, *options: str) -> Iterator[Process]:
    """A slow run that has begun."""
    slow = ("--rate-limit", "200B/s", "--transport", "single", "--progress", "json", *options)
    with start(
        ["mirror", "--archive", archive.url, "--everything", "--yes", "--to", mirror, *slow], cache=cache
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line)["event"] == "progress":
                break
        yield process


def test_the_message_for_a_second_process_names_the_first(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "deep" / "mirror"
    mirror.mkdir(parents=True)
    (tmp_path / "link").symlink_to(mirror)
    (tmp_path / "above").symlink_to(tmp_path / "deep")
    selection = ("--archive", archive.url, "--everything", "--yes", "--to")
    with at_work(mirror, archive, cache) as first:
        for command in (
            ("mirror", *selection, mirror),
            ("mirror", *selection, tmp_path / "link"),
            ("resume", tmp_path / "above" / "mirror"),
            ("adopt", tmp_path / "deep" / ".." / "deep" / "mirror"),
        ):
            second = run(*command, *QUIET, cache=cache)
            assert (command, second.code, second.err.count("\n")) == (command, 6, 1)
            assert f"process {first.pid} " in second.err


def test_commands_that_only_read_need_no_lock(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    with at_work(mirror, archive, cache) as first:
        status = run("status", mirror, "--json", cache=cache)
        assert status.code == 0
        assert str(first.pid) in status.document()["running"]
        plan = run("plan", "--archive", archive.url, "--everything", "--to", mirror, *QUIET, cache=cache)
        assert (plan.code, plan.document()["instances"]["selected"]) == (0, 60)
        audit = run("verify", mirror, *QUIET, cache=cache).document()
        assert {problem["problem"] for problem in audit["problems"]} <= {"foreign"}
        with serve(mirror, cache=cache, log=tmp_path / "second.jsonl") as second:
            assert second.url != archive.url
        assert first.poll() is None


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_lock_of_a_dead_process_is_taken_over(
    workers: str, made_up: tuple[Path, list[MadeUp]], archive: RunningArchive, cache: Path, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    with at_work(mirror, archive, cache, "--workers", workers) as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        done = run("resume", mirror, "--rate-limit", "1GB/s", *QUIET, cache=cache)
    assert (done.code, done.err) == (0, "")
    assert checksums_on_disk(mirror) == checksums_of(made_up[1])


def test_the_content_of_the_lock_file_does_not_lock(
    made_up: tuple[Path, list[MadeUp]], archive: RunningArchive, cache: Path, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    (mirror / ".bulkdl").mkdir(parents=True)
    note = {"pid": os.getpid(), "host": "here", "started_at": "2020-01-01", "verb": "mirror"}
    (mirror / ".bulkdl" / "lock").write_text(json.dumps(note))
    done = run("mirror", "--archive", archive.url, "--everything", "--yes", "--to", mirror, *QUIET, cache=cache)
    assert done.code == 0
    assert checksums_on_disk(mirror) == checksums_of(made_up[1])
