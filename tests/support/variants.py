"""What the suites of faults, attacks and contracts run with besides the usual: `tests.stress.matrix` sets it.

`SUITE_TLS=1` serves them over TLS, `SUITE_WORKERS=2` downloads with two processes, and `SUITE_TRANSPORT=aiohttp` sends
every request with aiohttp, also those of the commands that they start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

IS_TLS: Final = os.environ.get("SUITE_TLS") == "1"
TRANSPORT: Final = os.environ.get("SUITE_TRANSPORT", "sockets")
WORKERS: Final = int(os.environ.get("SUITE_WORKERS", "1"))


def use_aiohttp() -> Callable[[], None]:
    """Let this process send every request with aiohttp, as it does through a proxy; the result undoes it."""
    from bulkdl.archive import transports  # noqa: PLC0415 - late: most processes do not call this

    before = transports._needs_aiohttp  # noqa: SLF001 - there is no other way without a proxy
    transports._needs_aiohttp = lambda access: True  # noqa: ARG005, SLF001 - the same

    def undo() -> None:
        transports._needs_aiohttp = before  # noqa: SLF001 - the same

    return undo


@contextmanager
def by_aiohttp(is_wanted: bool) -> Iterator[None]:  # noqa: FBT001 - a switch
    """The same for a block."""
    undo = use_aiohttp() if is_wanted else None
    try:
        yield
    finally:
        if undo is not None:
            undo()
