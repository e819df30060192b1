"""Suppress pydicom's warnings: irregularities of a file are reported in the notes of its validation.

`warnings.catch_warnings` is not thread-safe: two that overlap may leave each other's filters installed. Here the first
thread to enter installs one filter and the last to leave removes it, so no thread waits for another. The filter applies
to pydicom only.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _SharedFilter:
    """The filter, and the number of its users."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._caught = warnings.catch_warnings()

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._caught.__exit__(None, None, None)


_FILTER = _SharedFilter()  # one per process, like the list of warning filters


@contextmanager
def suppressed_pydicom_warnings() -> Iterator[None]:
    """Suppress warnings of pydicom, in all threads, for the length of the block."""
    _FILTER.enter()
    try:
        yield
    finally:
        _FILTER.leave()
