"""A goal of speed: what was wanted, what was found, and whether that is enough."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal; `wanted` and `found` are for people to read."""

    name: str
    wanted: str
    found: str
    met: bool
