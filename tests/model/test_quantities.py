"""Quantities are read exactly, or refused with an example of what is valid."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.model.quantities import (
    human_bytes,
    parse_count,
    parse_count_or_auto,
    parse_date,
    parse_duration,
    parse_rate,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("45", 45), ("0", 0), ("1d1s", 86401)],
)
def test_reads_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(hours=st.integers(0, 999), minutes=st.integers(0, 999), seconds=st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize("text", ["", "m", "15 m", "-5s", "5x", "1m1h", "1e3", "inf", "nan", "\u0663s", "15M"])
def test_refuses_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50MB/s", 50e6),
        ("50MB", 50e6),
        ("50M", 50e6),
        ("1.5 GB/s", 1.5e9),
        ("500kB/s", 500e3),
        ("500KB/s", 500e3),
        ("10MiB/s", 10 * 2**20),
        ("1KiB", 1024),
        ("2000", 2000),
        ("2000B/s", 2000),
        ("2000/s", 2000),
    ],
)
def test_reads_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "MB/s", "50Mb/s", "50mb", "50 MB / s", "-1MB", "50iB", "50MB/h", "50XB"])
def test_refuses_what_is_not_a_rate(text: str) -> None:
    """Megabits, read as megabytes, would allow eight times the intended rate."""
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


def test_refuses_a_rate_of_zero() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        parse_rate("0MB/s")


@given(st.integers(1, 10**6), st.sampled_from(["k", "M", "G", "T"]))
def test_a_binary_rate_is_the_larger_one(number: int, prefix: str) -> None:
    assert parse_rate(f"{number}{prefix}iB/s") > parse_rate(f"{number}{prefix}B/s")


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_and_never_worse(text: str) -> None:
    for parse in (parse_duration, parse_rate, parse_count_or_auto, parse_date):
        with suppress(ValueError):
            parse(text)


def test_auto_stands_for_no_number() -> None:
    assert parse_count_or_auto("auto") is None
    assert parse_count_or_auto("8") == 8


@pytest.mark.parametrize("text", ["0", "-1", "8.5", "many", "", "\uff11", "1" * 40])
def test_refuses_what_is_not_a_count(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a positive integer$"):
        parse_count(text)
    with pytest.raises(ValueError, match=r'or "auto"$'):
        parse_count_or_auto(text)


@pytest.mark.parametrize("text", ["2024-13-01", "2024-02-30", "01.02.2024", "20240201", "2024-2-1", "2024-W01-1", ""])
def test_refuses_what_is_not_a_date(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a date \(YYYY-MM-DD\)"):
        parse_date(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (52_770_000, "52.8 MB"), (999_999, "1.0 MB"), (10**18, "1000.0 PB")],
)
def test_bytes_are_written_for_people(count: int, text: str) -> None:
    assert human_bytes(count) == text
