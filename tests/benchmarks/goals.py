"""What a part of the benchmarks finds: goals, each met or missed, and figures to draw."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal; `wanted` and `found` are for people to read."""

    name: str
    wanted: str
    found: str
    met: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """A plot of bars: a label and a value in `unit` for each."""

    title: str
    unit: str
    values: tuple[tuple[str, float], ...]
