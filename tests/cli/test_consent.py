"""What is unusual is asked about at a terminal, refused elsewhere, and done with `--yes`."""

from __future__ import annotations

import io

import pytest

from bulkdl.cli.consent import confirm, confirm_rate
from bulkdl.errors import ConfigurationError, Interrupted
from bulkdl.model.settings import FetchSettings


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
