"""Keeps pydicom's warnings to itself: what is odd about a file is said in our verdicts, once.

`warnings.catch_warnings` alone is not for threads: two that overlap may leave each other's filters behind for good.
Here the first to enter puts one filter up and the last to leave takes it down, so threads share it and none waits for
another. The filter names pydicom only; the warnings of everybody else pass as before.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Filter:
    """The filter and the number of those who want it up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._caught = warnings.catch_warnings()

    def enter(self) -> None:
        with self._lock:
            self._wanted += 1
            if self._wanted == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")

    def leave(self) -> None:
        with self._lock:
            self._wanted -= 1
            if self._wanted == 0:
                self._caught.__exit__(None, None, None)


_FILTER = _Filter()  # one for the process, as the interpreter's list of filters is


@contextmanager
def suppressed_pydicom_warnings() -> Iterator[None]:
    """No warning that pydicom issues, in any thread, is shown or raised until this is left."""
    _FILTER.enter()
    try:
        yield
    finally:
        _FILTER.leave()
