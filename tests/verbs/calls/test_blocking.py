"""The verbs as functions: blocking, within a running loop, and as coroutines; against an embedded archive."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import bulkdl
from bulkdl.errors import ConfigurationError
from bulkdl.model.events import Event
from bulkdl.model.reports.base import RunOutcome
from tests.support.commands import RunningArchive, serve
from tests.support.dicom_files import instances, uid, write_folder

ONE, TWO, THREE = (uid("series", number) for number in range(3))


@pytest.fixture(scope="module")
def archive(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    folder = tmp_path_factory.mktemp("archive")
    write_folder(folder, instances(series=3, per_series=2, collection="FIRST"))
    with serve(folder, cache=cache, log=tmp_path_factory.mktemp("log") / "access.jsonl") as running:
        yield running


def test_a_mirror_is_planned_made_verified_and_shown(archive: RunningArchive, tmp_path: Path) -> None:
    to = tmp_path / "m"
    planned = bulkdl.plan(collection="FIRST", archive=archive.url)
    report = bulkdl.mirror(collection="FIRST", to=to, archive=archive.url)
    assert planned.instances_selected == report.instances.fetched == 6
    assert report.outcome is RunOutcome.COMPLETE
    assert bulkdl.verify(to).sound == bulkdl.status(to).held == 6
    assert bulkdl.resume(to).instances.fetched == 0


async def test_blocking_verbs_work_where_a_loop_runs_already(archive: RunningArchive, tmp_path: Path) -> None:
    """A notebook runs its cells in a loop."""
    report = bulkdl.mirror(collection="FIRST", to=tmp_path / "m", archive=archive.url)
    assert report.instances.fetched == 6


@pytest.mark.parametrize(("shell", "is_shown"), [("ZMQInteractiveShell", True), ("TerminalInteractiveShell", False)])
def test_a_blocking_verb_shows_a_bar_in_a_notebook_and_nowhere_else(
    archive: RunningArchive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    shell: str,
    is_shown: bool,
) -> None:
    kernel = type(shell, (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    bulkdl.mirror(collection="FIRST", to=tmp_path / "m", archive=archive.url)
    assert ("run 1: from" in capsys.readouterr().err) == is_shown
    events: list[Event] = []
    bulkdl.resume(tmp_path / "m", sink=events.append)
    assert capsys.readouterr().err == ""
    assert events


async def test_each_verb_has_an_async_twin(archive: RunningArchive, tmp_path: Path) -> None:
    to = tmp_path / "m"
    planned = await bulkdl.plan_async(collection="FIRST", archive=archive.url)
    report = await bulkdl.mirror_async(collection="FIRST", to=to, archive=archive.url)
    assert planned.instances_selected == report.instances.fetched == 6
    assert (await bulkdl.resume_async(to)).outcome is RunOutcome.COMPLETE
    assert (await bulkdl.verify_async(to, quick=True)).sound == 6
    assert (await bulkdl.status_async(to)).held == 6
    answer = await bulkdl.query_async("getCollectionValues", archive=archive.url)
    assert [record["collection"] for record in answer] == ["FIRST"]


async def test_a_mirror_that_is_stopped_ends_as_interrupted(archive: RunningArchive, tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    report = await bulkdl.mirror_async(collection="FIRST", to=tmp_path / "m", archive=archive.url, stop=stop)
    assert report.outcome is RunOutcome.INTERRUPTED


async def test_progress_comes_to_the_sink_in_the_thread_that_works(archive: RunningArchive, tmp_path: Path) -> None:
    events: list[tuple[Event, threading.Thread]] = []
    bulkdl.mirror(
        collection="FIRST",
        to=tmp_path / "m",
        archive=archive.url,
        sink=lambda event: events.append((event, threading.current_thread())),
    )
    assert events[0][0].name == "run-started"
    assert threading.main_thread() not in {thread for _, thread in events}


def test_an_error_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean tcia"):
        bulkdl.mirror(collection="FIRST", to=tmp_path / "m", archive="tcai")


async def test_an_error_is_raised_as_it_is_where_a_loop_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean tcia"):
        bulkdl.mirror(collection="FIRST", to=tmp_path / "m", archive="tcai")
