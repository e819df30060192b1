"""A verification finds every kind of damage, continues where it stopped, and ignores a position that may be stale."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkdl.journal.journal import Journal
from bulkdl.model.events import Event, Noted, Verifying, ignore
from bulkdl.model.reports.verify import ProblemKind, VerifyReport
from bulkdl.verbs.verify import verify_async
from tests.support.held_mirrors import make_mirror
from tests.support.journals import begin

if TYPE_CHECKING:
    from bulkdl.model.events import Sink

PER_SERIES = 300


class StopsAfter(asyncio.Event):
    """A stop that is set when it has been read so many times."""

    def __init__(self, questions: int) -> None:
        super().__init__()
        self._left = questions

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def audit(
    root: Path,
    *,
    quick: bool = False,
    from_start: bool = False,
    stop: asyncio.Event | None = None,
    sink: Sink = ignore,
) -> VerifyReport:
    return asyncio.run(verify_async(root, quick=quick, from_start=from_start, stop=stop, sink=sink))


def named(report: VerifyReport) -> dict[str, ProblemKind]:
    return {problem.path: problem.problem for problem in report.problems}


def change_behind_the_back(path: Path) -> None:
    """Another content of the same size, under the same time of modification."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def plant(paths: list[Path], root: Path) -> dict[str, ProblemKind]:
    """Every kind of damage, one file each but for the two that change places."""
    paths[0].unlink()
    paths[10].write_bytes(paths[10].read_bytes()[:-1])
    paths[20].write_bytes(b"")
    change_behind_the_back(paths[30])
    paths[40].write_bytes(paths[40].read_bytes() + b"x")
    one, other = paths[50].read_bytes(), paths[51].read_bytes()
    paths[50].write_bytes(other)
    paths[51].write_bytes(one)
    paths[60].rename(root / "moved.dcm")
    paths[60].symlink_to(root / "moved.dcm")
    paths[70].unlink()
    paths[70].mkdir()
    stray = paths[80].with_name("notes.txt")
    stray.write_text("not of this mirror")
    odd = root / os.fsdecode(b"odd\xff name")
    odd.write_text("a name that is not UTF-8")
    expected = {
        paths[0]: ProblemKind.MISSING,
        paths[10]: ProblemKind.TRUNCATED,
        paths[20]: ProblemKind.TRUNCATED,
        paths[30]: ProblemKind.ALTERED,
        paths[40]: ProblemKind.ALTERED,
        paths[50]: ProblemKind.ALTERED,
        paths[51]: ProblemKind.ALTERED,
        paths[60]: ProblemKind.ALTERED,
        paths[70]: ProblemKind.ALTERED,
        stray: ProblemKind.FOREIGN,
        root / "moved.dcm": ProblemKind.FOREIGN,
        root / "odd\N{REPLACEMENT CHARACTER} name": ProblemKind.FOREIGN,
    }
    return {str(path.relative_to(root)): kind for path, kind in expected.items()}


def test_every_kind_of_damage_has_its_name(tmp_path: Path) -> None:
    expected = plant(make_mirror(tmp_path, series=1, per_series=PER_SERIES), tmp_path)
    report = audit(tmp_path)
    assert named(report) == expected
    assert (report.checked, report.sound) == (PER_SERIES, PER_SERIES - 9)


def test_many_small_files_are_verified_by_processes_with_the_same_findings(tmp_path: Path) -> None:
    expected = plant(make_mirror(tmp_path, series=18, per_series=PER_SERIES), tmp_path)
    report = audit(tmp_path)
    assert named(report) == expected
    assert report.checked == 18 * PER_SERIES


def test_a_file_that_cannot_be_read_is_unreadable(tmp_path: Path) -> None:
    path = make_mirror(tmp_path, series=1, per_series=PER_SERIES)[5]
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("the super-user reads everything")
    assert named(audit(tmp_path)) == {str(path.relative_to(tmp_path)): ProblemKind.UNREADABLE}


def test_quick_reads_nothing(tmp_path: Path) -> None:
    paths = make_mirror(tmp_path, series=1, per_series=PER_SERIES)
    change_behind_the_back(paths[3])
    paths[4].write_bytes(b"short")
    assert named(audit(tmp_path, quick=True)) == {str(paths[4].relative_to(tmp_path)): ProblemKind.TRUNCATED}


def interrupted(root: Path, *, quick: bool = False) -> VerifyReport:
    """Stop an audit when most files have been looked at: the first batch is done by then, on most machines."""
    questions = range(5, 12) if quick else range(1400, PER_SERIES * 6, 60)
    reports = (audit(root, quick=quick, stop=StopsAfter(number)) for number in questions)
    return next(report for report in reports if 0 < report.checked < PER_SERIES * 6)


def test_an_interrupted_verification_continues_where_it_stopped(tmp_path: Path) -> None:
    paths = make_mirror(tmp_path, series=6, per_series=PER_SERIES)
    change_behind_the_back(paths[7])
    first = interrupted(tmp_path)
    paths[8].unlink()  # was looked at before, so only an audit from the start finds it
    paths[-1].unlink()

    events: list[Event] = []
    second = audit(tmp_path, sink=events.append)

    assert any(isinstance(event, Noted) and f"{first.checked - 1:,} files" in event.message for event in events)
    assert second.checked == len(paths)
    assert set(named(second)) == {str(path.relative_to(tmp_path)) for path in (paths[7], paths[-1])}
    assert not (tmp_path / ".bulkdl" / "verify.json").exists()
    assert str(paths[8].relative_to(tmp_path)) in named(audit(tmp_path))


def test_what_was_repaired_meanwhile_is_no_longer_a_problem(tmp_path: Path) -> None:
    paths = make_mirror(tmp_path, series=6, per_series=PER_SERIES)
    content = paths[7].read_bytes()
    paths[7].write_bytes(b"damaged")
    interrupted(tmp_path)
    paths[7].write_bytes(content)
    report = audit(tmp_path)
    assert (report.problems, report.checked) == ((), len(paths))


@pytest.mark.parametrize("reason", ["asked", "another kind", "a run in between", "too old", "no JSON", "rubbish"])
def test_a_verification_starts_again_where_continuing_would_be_wrong(tmp_path: Path, reason: str) -> None:
    paths = make_mirror(tmp_path, series=6, per_series=PER_SERIES)
    interrupted(tmp_path, quick=reason == "another kind")
    paths[0].unlink()
    position = tmp_path / ".bulkdl" / "verify.json"
    kept = json.loads(position.read_text())
    match reason:
        case "a run in between":
            with Journal.create_or_open(tmp_path / ".bulkdl" / "journal.sqlite") as journal:
                begin(journal)
        case "too old":
            position.write_text(json.dumps({**kept, "since": "2020-01-01T00:00:00+00:00"}))
        case "no JSON":
            position.write_bytes(b"\xff\0{")
        case "rubbish":
            position.write_text(json.dumps({**kept, "damaged": [{"path": "../../etc/passwd"}]}))
    report = audit(tmp_path, from_start=reason == "asked")
    assert named(report) == {str(paths[0].relative_to(tmp_path)): ProblemKind.MISSING}
    assert report.checked == len(paths)


def test_progress_counts_up_to_all(tmp_path: Path) -> None:
    paths = make_mirror(tmp_path, series=2, per_series=PER_SERIES)
    events: list[Event] = []
    audit(tmp_path, sink=events.append)
    last = [event for event in events if isinstance(event, Verifying)][-1]
    assert (last.checked, last.held, last.problems) == (len(paths), len(paths), 0)
    assert last.bytes_checked == sum(path.stat().st_size for path in paths)


@pytest.mark.parametrize("quick", [False, True])
def test_progress_knows_how_many_bytes_are_to_be_read(tmp_path: Path, *, quick: bool) -> None:
    paths = make_mirror(tmp_path, series=1, per_series=PER_SERIES)
    events: list[Event] = []
    audit(tmp_path, sink=events.append, quick=quick)
    size_bytes = sum(path.stat().st_size for path in paths)
    assert {event.bytes_held for event in events if isinstance(event, Verifying)} == {0 if quick else size_bytes}


def test_progress_counts_what_was_read_of_a_file_that_is_not_finished(tmp_path: Path) -> None:
    make_mirror(tmp_path, series=1, per_series=1)
    announced = threading.Event()

    class AskedAfterEachRead(asyncio.Event):
        def is_set(self) -> bool:
            if threading.current_thread() is not threading.main_thread():
                announced.wait(20)
            return super().is_set()

    def sink(event: Event) -> None:
        if isinstance(event, Verifying) and event.bytes_checked and not event.checked:
            announced.set()

    audit(tmp_path, sink=sink, stop=AskedAfterEachRead())
    assert announced.is_set()


def test_a_complete_verification_leaves_nothing_behind(tmp_path: Path) -> None:
    make_mirror(tmp_path, series=1, per_series=PER_SERIES)
    ours = tmp_path / ".bulkdl"
    before = {path.name for path in ours.iterdir()}
    audit(tmp_path)
    assert {path.name for path in ours.iterdir()} - {"journal.sqlite-wal", "journal.sqlite-shm"} == before
