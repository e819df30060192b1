"""Colours are for terminals that want them."""

from __future__ import annotations

import io

import pytest

from bulkdl.runtime.terminal import coloured, has_colours, width_of
from tests.support.clocks import Terminal


def test_a_pipe_has_neither_colours_nor_width() -> None:
    assert not has_colours(io.StringIO())
    assert coloured("failed", "red", io.StringIO()) == "failed"
    assert width_of(io.StringIO()) is None


def test_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert coloured("failed", "red", Terminal()) == "\x1b[31mfailed\x1b[0m"
    assert coloured("", "red", Terminal()) == ""
