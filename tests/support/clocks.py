"""A clock that tests move by hand, and made-up progress."""

from __future__ import annotations

import io

from bulkdl.model.events import Progress


class HandMovedClock:
    """Seconds; `now` is moved by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def progress(
    held: int,
    *,
    size_bytes: int = 0,
    left: int | None = None,
    failed: int = 0,
    retries: int = 0,
    resolving: bool = False,
) -> Progress:
    """Progress of a run of 2,000 instances in 4 Series; of 20 MB, if `left` is given."""
    return Progress(
        series_selected=4,
        series_done=1,
        instances_selected=2000,
        instances_held=held,
        instances_failed=failed,
        bytes_fetched=size_bytes,
        bytes_selected=0 if left is None else 20_000_000,
        bytes_left=left,
        bytes_per_second=2_000_000,
        seconds_left=None if resolving else 28.4,
        retries=retries,
        in_flight=8,
        limit=16,
        resolving=resolving,
        at_work=("TCGA-GBM",),
    )
