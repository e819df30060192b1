"""Durations, rates, counts, dates and sizes as people write them.

Every `parse` function raises `ValueError` with a message that names the error and gives an example.
"""

import re
from contextlib import suppress
from datetime import date
from typing import Final

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION: Final = re.compile(
    rf"(?:(?P<d>{_NUMBER})d)?(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m)?(?:(?P<s>{_NUMBER})s)?", re.ASCII
)
_PLAIN: Final = re.compile(_NUMBER, re.ASCII)
_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
# A small b would be bits to some and bytes to others, so it is refused.
_RATE: Final = re.compile(rf"(?P<number>{_NUMBER}) ?(?:(?P<prefix>[kKMGT])(?P<binary>i)?)?B?(?:/s)?", re.ASCII)
_POWERS: Final = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_STEP = 1000
_UNITS = ("kB", "MB", "GB", "TB", "PB")
_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of `15m`, `90s`, `2h`, `1h30m`, `1.5h`, `2d`, or of a plain number of seconds."""
    if _PLAIN.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is not a duration (for example 15m, 90s, 1h30m or 900)")
    return sum(float(number) * _SECONDS[unit] for unit, number in found.groupdict().items() if number)


def parse_rate(text: str) -> float:
    """Bytes per second of `50MB/s`, `500kB/s`, `10MiB/s` or a number of bytes; `/s` and `B` may be left out."""
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a rate (for example 50MB/s, 500kB/s or 10MiB/s)")
    base = 1024 if found["binary"] else 1000
    rate = float(found["number"]) * float(base ** _POWERS.get(found["prefix"] or "", 0))
    if rate <= 0:
        raise ValueError(f"{text!r} is not a rate: it must be more than 0")
    return rate


def parse_size(text: str) -> int:
    """Bytes of `500GB`, `1.5TiB` or a number of bytes; `B` may be left out."""
    with suppress(ValueError):
        if "/" not in text:
            return round(parse_rate(text))
    raise ValueError(f"{text!r} is not a size (for example 500GB, 1.5TiB or 1000000)")


def rate_text(rate: float) -> str:
    """A rate as `parse_rate` reads it: `20kB/s`. Rounded to tenths."""
    return f"{human_bytes(round(rate)).replace(' ', '')}/s"


def parse_count(text: str) -> int:
    """A positive integer."""
    if not (_COUNT.fullmatch(text) and int(text)):
        raise ValueError(f"{text!r} must be a positive integer")
    return int(text)


def parse_count_or_auto(text: str) -> int | None:
    """A positive integer, or None for `auto`."""
    try:
        return None if text == "auto" else parse_count(text)
    except ValueError as error:
        raise ValueError(f'{error} or "auto"') from None


def parse_date(text: str) -> date:
    """A day written YYYY-MM-DD."""
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not a date (YYYY-MM-DD)")


def human_bytes(count: int) -> str:
    """A number of bytes for people, in powers of 1000: `812 B`, `52.8 MB`."""
    if count < _STEP:
        return f"{count} B"
    value = float(count)
    for unit in _UNITS:
        value /= _STEP
        if round(value, 1) < _STEP or unit == _UNITS[-1]:
            return f"{value:.1f} {unit}"
    raise AssertionError
