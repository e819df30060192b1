"""Lines for logs have a time and say how long it takes; lines for programs are JSON with stable names."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bulkdl.model.events import (
    ArchiveDown,
    ArchiveUp,
    InstanceFailed,
    Noted,
    Retrying,
    RunEnded,
    RunStarted,
    Verifying,
)
from bulkdl.progress.lines import JsonLines, PlainLines
from tests.support.clocks import HandMovedClock, progress

STARTED = RunStarted(3, "/data/m", "https://archive.test/")
DOWN = ArchiveDown("no route", 900)
BACK = ArchiveUp(75)
RETRYING = Retrying("1.2", "server-error", "500", 1, 0.5)
FAILED = InstanceFailed("1.2", "1.2.3", "unsound", "cut")
ENDED = RunEnded({"outcome": "complete"})
COUNTS = "1 of 4 series, 1,500 of 2,000 instances"


class Plain:
    """A log whose clock, and whose time of day, the test moves."""

    def __init__(self) -> None:
        self.clock = HandMovedClock()
        self.stream = io.StringIO()
        begin = datetime(2026, 11, 26, 18, tzinfo=UTC) - timedelta(seconds=self.clock.now)
        today = lambda: begin + timedelta(seconds=self.clock.now)  # noqa: E731 - one expression
        self.show = PlainLines(self.stream, self.clock, today).show

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_a_log_gets_a_line_every_five_seconds_with_time_share_rate_and_remaining_time() -> None:
    log = Plain()
    for _ in range(40):
        log.clock.now += 0.25
        log.show(progress(1500, left=15_000_000, failed=2, retries=3))
    said = f"25%, 5.0 MB of 20.0 MB, 2.0 MB/s, 28 s left, 2 failed, {COUNTS}, 3 retries, 8 of 16 in flight"
    assert log.lines == [f"2026-11-26T18:00:05Z {said}", f"2026-11-26T18:00:10Z {said}"]


def test_a_log_says_what_is_known_while_sizes_and_totals_are_not() -> None:
    log = Plain()
    log.clock.now += 5
    log.show(progress(1500, size_bytes=5_000_000, resolving=True))
    assert log.lines == [
        f"2026-11-26T18:00:05Z 75%, resolving, 5.0 MB downloaded, 2.0 MB/s, {COUNTS}, 8 of 16 in flight"
    ]


def test_a_log_shows_important_events_at_once() -> None:
    log = Plain()
    for event in (STARTED, DOWN, BACK, Noted("with\nbreaks"), RETRYING):
        log.show(event)
    assert [line.removeprefix("2026-11-26T18:00:00Z ") for line in log.lines] == [
        "run 3: from https://archive.test/ into /data/m",
        "the archive does not answer (no route); waiting for up to 15 min 0 s",
        "the archive answers again after 1 min 15 s",
        "with breaks",
    ]


def test_a_log_names_the_first_failures_of_each_error_and_counts_the_others() -> None:
    log = Plain()
    for number in range(100):
        log.show(replace(FAILED, sop_uid=f"1.2.{number}"))
    log.show(InstanceFailed("1.9", None, "not-found", "gone"))
    assert [line.partition(" ")[2] for line in log.lines] == [
        *(f"failed: 1.2.{number}: cut" for number in range(5)),
        "more instances fail with unsound: from here on they are only counted",
        "failed: series 1.9: gone",
    ]


def test_a_log_says_during_an_outage_how_long_it_lasts_and_nothing_else() -> None:
    log = Plain()
    log.show(DOWN)
    for _ in range(130):
        log.clock.now += 1
        log.show(progress(0))
    log.show(BACK)
    log.clock.now += 5
    log.show(progress(1))
    texts = [line.partition(" ")[2] for line in log.lines]
    assert texts[1:3] == [
        "the archive has not answered for 1 min 0 s",
        "the archive has not answered for 2 min 0 s",
    ]
    assert texts[3].startswith("the archive answers again")
    assert len(texts) == 5


def test_a_log_shows_a_verification() -> None:
    log = Plain()
    log.clock.now += 5
    log.show(Verifying(500, 2000, 50_000_000, 1))
    assert log.lines[0].partition(" ")[2] == "25%, verifying, 500 of 2,000 files, 10.0 MB/s, 15 s left, 1 problem"


def test_json_gives_every_event_as_one_object_a_line() -> None:
    stream = io.StringIO()
    events = [STARTED, progress(1), RETRYING, DOWN, BACK, FAILED, Noted("x"), Verifying(1, 2, 3, 0), ENDED]
    shown = JsonLines(stream, HandMovedClock())
    for event in events:
        shown.show(event)
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [entry["event"] for entry in objects] == [event.name for event in events]
    times = [datetime.fromisoformat(entry.pop("time")) for entry in objects]
    assert times == sorted(times)
    assert {time.utcoffset() for time in times} == {timedelta()}
    assert objects[-1] == {"event": "run-ended", "document": {"outcome": "complete"}}
    started = {"run": 3, "mirror": "/data/m", "archive": "https://archive.test/", "sends": False}
    assert objects[0] == {"event": "run-started", **started}
    assert set(objects[1]) == {
        *("event", "series_selected", "series_done", "instances_selected", "instances_held", "instances_failed"),
        *("bytes_fetched", "bytes_selected", "bytes_left", "bytes_per_second", "seconds_left", "retries"),
        *("in_flight", "limit", "resolving", "at_work", "instances_arriving"),
    }
