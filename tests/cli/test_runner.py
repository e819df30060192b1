"""The first signal stops in order, the second cancels; the caller's signal handlers are restored."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys

import pytest

from bulkdl.cli.options import OutputOptions
from bulkdl.cli.runner import confirm, confirm_rate, run, run_verb, unless_stopped
from bulkdl.cli.signals import SIGNALS
from bulkdl.errors import ConfigurationError, DiskFull, Interrupted
from bulkdl.model.events import Event, Noted, Sink
from bulkdl.model.reports.base import SeriesCounts
from bulkdl.model.reports.verify import VerifyReport
from bulkdl.model.settings import FetchSettings
from bulkdl.progress.display import ProgressMode


@pytest.fixture(params=["with handlers of the loop", "without, as on Windows"], autouse=True)
def loop_of_a_platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "with handlers of the loop":
        for name in ("add_signal_handler", "remove_signal_handler"):
            monkeypatch.setattr(asyncio.SelectorEventLoop, name, getattr(asyncio.AbstractEventLoop, name))


BOTH = pytest.mark.parametrize("number", SIGNALS)


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

    assert run(action, when_interrupted="", sink=told.append) == "a report"
    assert told == [Noted("stopping: finishing the requests in flight; Ctrl-C again stops at once")]


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


# --- what is unusual is asked about at a terminal, refused elsewhere, and done with --yes -----------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_it_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Mirror all\? .* add --yes"):
        confirm("Mirror all?", yes=False)
    confirm("Mirror all?", yes=True)


def test_at_a_terminal_the_answer_decides(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\nn\n"))
    confirm("Mirror all?", yes=False)
    with pytest.raises(Interrupted):
        confirm("Mirror all?", yes=False)
    assert "Mirror all?" in capsys.readouterr().err


@pytest.mark.parametrize("rate", [None, 1000.0, 50e6])
def test_a_usual_rate_is_not_asked_about(rate: float | None) -> None:
    confirm_rate(FetchSettings(rate_limit_bytes=rate), yes=False)


@pytest.mark.parametrize("rate", [0.5, 50.0, 999.0])
def test_a_rate_whose_unit_is_probably_missing_is_asked_about(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="bytes per second"):
        confirm_rate(FetchSettings(rate_limit_bytes=rate), yes=False)
    confirm_rate(FetchSettings(rate_limit_bytes=rate), yes=True)
