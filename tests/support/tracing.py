"""Measure no coverage in code that runs millions of lines which other tests cover.

The marker `no_cover` of pytest-cov has no effect in the processes of pytest-xdist.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def untraced() -> Iterator[None]:
    """Trace nothing in this thread, for the length of the block."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
