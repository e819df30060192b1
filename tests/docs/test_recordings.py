"""The recorded sessions of the documentation are what the documentation says of a run."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

import pytest

from tests.docs.record import DOCS

_STATE: Final = re.compile(r">([^<>]*)<set [^>]*begin=\"loop\.begin(?:\+([0-9.]+)s)?\" dur=\"([0-9.]+)s\"")
_LEFT: Final = re.compile(r"(?:(\d+) min )?([0-9.]+) s left")
_REDRAWN_SECONDS: Final = 0.6


def bars(name: str) -> list[tuple[float, float, str]]:
    """Each state of the bar: from when to when it was shown, in seconds, and its text."""
    states = _STATE.findall((DOCS / name).read_text(encoding="utf-8"))
    shown = [(float(since), float(since) + float(lasted), text) for text, since, lasted in states if since]
    return sorted(state for state in shown if "% |" in state[2] and "resolving" not in state[2])


@pytest.mark.parametrize(("name", "columns"), [("progress.svg", 80), ("progress-narrow.svg", 40)])
def test_the_recorded_run_shows_the_remaining_time_within_a_fifth_and_moves(name: str, columns: int) -> None:
    shown = bars(name)
    begin, end = shown[0][0], shown[-1][1]
    assert end - begin > 15
    assert max(len(text) for _, _, text in shown) <= columns
    assert all(until - since < 1 for since, until, _ in shown)
    assert all(before[2] != after[2] for before, after in pairwise(shown))
    for since, _, text in shown:
        if since >= begin + (end - begin) / 3 and not text.startswith("100%"):
            found = _LEFT.search(text)
            assert found is not None, text
            left = int(found[1] or 0) * 60 + float(found[2])
            assert left == pytest.approx(end - since, rel=0.2, abs=_REDRAWN_SECONDS), text
