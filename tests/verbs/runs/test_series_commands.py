"""`--on-series`: a command for each Series that a run completes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ConfigurationError
from bulkdl.model.completed_series import parse_command
from bulkdl.model.events import Event, Noted
from bulkdl.model.reports.base import RunOutcome
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import instances
from tests.support.waiting import until

MADE_UP = list(instances(series=3, per_series=2))
SERIES = {one.series_uid for one in MADE_UP}

_KEEP = """
import json, sys
document = json.load(sys.stdin)
with open(sys.argv[1] + "/" + document["series"], "w") as file:
    json.dump(document, file)
"""


def python(script: str, *words: object) -> list[str]:
    return [sys.executable, "-c", script, *map(str, words)]


async def test_a_command_gets_each_series_that_is_completed_once(tmp_path: Path) -> None:
    kept, mirror = tmp_path / "kept it", tmp_path / "m"
    kept.mkdir()
    command = python(_KEEP, kept)
    async with BadArchive(MADE_UP) as archive:
        choice = archive.choice(tmp_path)
        await bulkdl.mirror_async(
            series=sorted(SERIES)[:1], to=mirror, archive=choice, settings=QUICK, on_series=command
        )
        (first,) = kept.iterdir()
        first.unlink()
        report = await bulkdl.mirror_async(
            "MADE-UP", to=mirror, archive=choice, settings=QUICK, on_series=command, on_series_at_once=1
        )
        again = await bulkdl.sync_async(mirror, archive=choice, settings=QUICK, on_series=command)
    assert (report.outcome, report.notes, again.notes) == (RunOutcome.COMPLETE, (), ())
    documents = {path.name: json.loads(path.read_text()) for path in kept.iterdir()}
    assert documents.keys() == SERIES - {first.name}
    for uid, document in documents.items():
        folder = next(path for path in (mirror / "MADE-UP").rglob(uid) if str(path) == document["folder"])
        assert (document["mirror"], document["run"], document["instances"]) == (str(mirror), 2, 2)
        assert (document["collection"], document["series"]) == ("MADE-UP", uid)
        files = list(folder.glob("*.dcm"))
        assert (len(files), sum(path.stat().st_size for path in files)) == (2, document["bytes"])


async def test_its_failures_are_noted_and_are_not_those_of_the_mirror(tmp_path: Path) -> None:
    events: list[Event] = []
    command = python("import sys; print('first', file=sys.stderr); sys.exit('the disk is on fire')")
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.mirror_async(
            "MADE-UP",
            to=tmp_path / "m",
            archive=archive.choice(tmp_path),
            settings=QUICK,
            on_series=command,
            sink=events.append,
        )
    assert (report.outcome, report.failures) == (RunOutcome.COMPLETE, ())
    assert report.notes == ("the command of --on-series failed for 3 of 3 series",)
    told = [event.message for event in events if isinstance(event, Noted) and "failed for series" in event.message]
    assert len(told) == 3
    assert all(message.endswith("exit status 1: the disk is on fire") for message in told)


async def test_commands_end_when_the_run_is_stopped(tmp_path: Path) -> None:
    stop = asyncio.Event()
    script = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w')); time.sleep(600)"
    started = tmp_path / "started"
    async with BadArchive(MADE_UP) as archive:
        running = asyncio.ensure_future(
            bulkdl.mirror_async(
                "MADE-UP",
                to=tmp_path / "m",
                archive=archive.choice(tmp_path),
                settings=QUICK,
                stop=stop,
                on_series=python(script, started),
            )
        )
        pid = int(await until(lambda: started.exists() and started.read_text()))
        stop.set()
        report = await asyncio.wait_for(running, 20)
    assert report.outcome in {RunOutcome.COMPLETE, RunOutcome.INTERRUPTED}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_command_that_hangs_is_ended_and_has_failed(tmp_path: Path) -> None:
    events: list[Event] = []
    started = tmp_path / "started"
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.mirror_async(
            series=min(SERIES),
            to=tmp_path / "m",
            archive=archive.choice(tmp_path),
            settings=QUICK,
            sink=events.append,
            on_series=["sh", "-c", 'echo $$ > "$0"; exec sleep 600', str(started)],
            on_series_timeout=1.0,
        )
    assert report.outcome is RunOutcome.COMPLETE
    assert report.notes == ("the command of --on-series failed for 1 of 1 series",)
    (told,) = [event.message for event in events if isinstance(event, Noted) and "failed for series" in event.message]
    assert "took longer than 1.0 s (--on-series-timeout)" in told
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


@pytest.mark.parametrize("command", ["", "unclosed 'quote", "no-such-command-of-ours x"])
async def test_what_is_not_a_command_is_refused_before_anything_is_done(tmp_path: Path, command: str) -> None:
    with pytest.raises(ConfigurationError, match="--on-series"):
        await bulkdl.mirror_async(series="1.2", to=tmp_path / "m", archive="nbia+http://127.0.0.1:9", on_series=command)
    assert not (tmp_path / "m").exists()


def test_a_command_is_split_as_a_shell_splits_it_and_not_expanded() -> None:
    assert parse_command("dcm2niix -o '/my data' $HOME *") == ("dcm2niix", "-o", "/my data", "$HOME", "*")


async def test_a_mirror_does_not_bring_a_command_with_it(tmp_path: Path) -> None:
    made = tmp_path / "made"
    async with BadArchive(MADE_UP) as archive:
        choice = archive.choice(tmp_path)
        command = python(f"open({str(made)!r}, 'w').close()")
        series = sorted(SERIES)
        await bulkdl.mirror_async(
            series=series[:1], to=tmp_path / "m", archive=choice, settings=QUICK, on_series=command
        )
        made.unlink()
        await bulkdl.mirror_async(series=series, to=tmp_path / "m", archive=choice, settings=QUICK)
        next((tmp_path / "m").rglob("*.dcm")).unlink()
        await bulkdl.resume_async(tmp_path / "m", archive=choice, settings=QUICK, given=())
    assert not made.exists()
