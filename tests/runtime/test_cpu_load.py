from __future__ import annotations

from bulkdl.runtime.cpu_load import CpuLoad


class Clocks:
    """Wall clock and processor time, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 7.0

    def pass_by(self, seconds: float, *, used: float) -> None:
        self.now += seconds
        self.used += used

    def load(self) -> CpuLoad:
        return CpuLoad(cpu=lambda: self.used, clock=lambda: self.now)


def test_a_thread_counts_as_busy_until_it_is_measured() -> None:
    clocks = Clocks()
    load = clocks.load()
    assert load.is_busy
    clocks.pass_by(0.05, used=0.0)
    assert load.is_busy


def test_a_thread_that_waits_is_not_busy() -> None:
    clocks = Clocks()
    load = clocks.load()
    clocks.pass_by(0.2, used=0.02)
    assert not load.is_busy


def test_the_last_window_counts() -> None:
    clocks = Clocks()
    load = clocks.load()
    clocks.pass_by(100.0, used=0.0)
    assert not load.is_busy
    clocks.pass_by(0.2, used=0.19)
    assert load.is_busy
