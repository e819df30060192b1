"""Suppress pydicom's warnings: irregularities of a file are reported in the notes of its validation.

`warnings.catch_warnings` is not thread-safe. Here the first thread to enter installs one filter, for pydicom only, and
the last to leave removes it, so no thread waits for another.
"""

import threading
import warnings
from typing import Final


class _SharedFilter:
    """The filter, and the number of its users."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._caught.__exit__(None, None, None)


suppressed_pydicom_warnings: Final = _SharedFilter()
"""Suppresses warnings of pydicom, in all threads, during a `with` block. One per process, like the filters."""
