"""The first signal stops in order, the second cancels; the caller's signal handlers are restored."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from bulkdl.cli.options import OutputOptions
from bulkdl.cli.progress import ProgressMode
from bulkdl.cli.runner import run, run_verb, unless_stopped
from bulkdl.errors import DiskFull, Interrupted
from bulkdl.model.events import Event, Noted, Sink
from bulkdl.model.reports import SeriesCounts, VerifyReport


@pytest.fixture(params=["with handlers of the loop", "without, as on Windows"], autouse=True)
def loop_of_a_platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "with handlers of the loop":
        for name in ("add_signal_handler", "remove_signal_handler"):
            monkeypatch.setattr(asyncio.SelectorEventLoop, name, getattr(asyncio.AbstractEventLoop, name))


BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def test_gives_the_result() -> None:
    async def action(stop: asyncio.Event) -> str:
        return "stopped" if stop.is_set() else "done"

    assert run(action, when_interrupted="") == "done"


@BOTH
def test_the_first_signal_lets_the_action_end_in_good_order(number: int) -> None:
    told: list[Event] = []

    async def action(stop: asyncio.Event) -> str:
        os.kill(os.getpid(), number)
        await stop.wait()
        return "a report"

    assert run(action, when_interrupted="", notice="stopping", sink=told.append) == "a report"
    assert told == [Noted("stopping")]


@BOTH
def test_the_second_signal_cancels(number: int) -> None:
    """Whatever the action still waits for."""

    async def action(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    with pytest.raises(Interrupted, match="to continue: bulkdl resume"):
        run(action, when_interrupted="to continue: bulkdl resume")


def test_an_interruption_that_the_action_raises_is_worded_by_the_command() -> None:
    async def action(stop: asyncio.Event) -> None:
        del stop
        raise Interrupted("inner words")

    with pytest.raises(Interrupted, match="outer words"):
        run(action, when_interrupted="outer words")


def test_other_errors_pass() -> None:
    async def action(stop: asyncio.Event) -> None:
        del stop
        raise DiskFull("full")

    with pytest.raises(DiskFull):
        run(action, when_interrupted="")


def test_the_handlers_of_before_come_back() -> None:
    async def action(stop: asyncio.Event) -> None:
        del stop

    def handler(number: int, frame: object) -> None:
        del number, frame

    before = [(number, signal.signal(number, handler)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        run(action, when_interrupted="")
        assert [signal.getsignal(number) for number, _ in before] == [handler, handler]
    finally:
        for number, previous in before:
            signal.signal(number, previous)


def test_what_a_half_is_worth_nothing_of_ends_with_the_first_signal() -> None:
    async def action(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await unless_stopped(asyncio.Event().wait(), stop)

    with pytest.raises(Interrupted):
        run(action, when_interrupted="")


def test_what_is_done_before_a_signal_gives_its_result() -> None:
    async def value() -> int:
        return 3

    assert run(lambda stop: unless_stopped(value(), stop), when_interrupted="") == 3


def test_what_libraries_log_stays_off_standard_error() -> None:
    """In another process, because pytest configures logging in this one."""
    script = (
        "import logging\n"
        "from bulkdl.cli.runner import run\n"
        "async def action(stop):\n"
        "    logging.getLogger('aiohttp.server').error('Error handling request')\n"
        "run(action, when_interrupted='')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr == ""


# --- the last event ---------------------------------------------------------------------------------------------------

REPORT = VerifyReport(mirror="m", series=SeriesCounts(), checked=1, sound=1, owed=0, bytes_checked=2, seconds=0.5)


def test_the_last_event_is_the_document_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    async def action(sink: Sink, stop: asyncio.Event) -> VerifyReport:
        del stop
        sink(Noted("working"))
        return REPORT

    assert run_verb(action, OutputOptions(as_json=True, progress=ProgressMode.JSON), when_interrupted="x") == 0
    out, err = capsys.readouterr()
    last = json.loads(err.splitlines()[-1])
    assert json.loads(out) == REPORT.as_json()
    assert (last["event"], last["document"]) == ("run-ended", REPORT.as_json())


def test_the_last_event_names_the_error_that_ended_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    async def action(sink: Sink, stop: asyncio.Event) -> VerifyReport:
        del sink, stop
        raise DiskFull("no room")

    with pytest.raises(DiskFull):
        run_verb(action, OutputOptions(as_json=True, progress=ProgressMode.JSON), when_interrupted="x")
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert last["event"] == "run-ended"
    assert last["document"] == {"outcome": "failed", "error": "disk-full", "message": "no room"}
