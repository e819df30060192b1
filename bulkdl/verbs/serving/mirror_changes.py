"""Serve what other processes do to a mirror: its folder is scanned again after its journal has changed."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from bulkdl.errors import BulkdlError, Interrupted
from bulkdl.model.events import Noted, Sink
from bulkdl.runtime.disk import JOURNAL
from bulkdl.runtime.tasks import in_thread, running_alongside

_LOOK_SECONDS: Final = 5.0
_PAUSE: Final = 9.0  # after a scan, in multiples of what it took: those of a large mirror take a tenth of the time

JournalStates: TypeAlias = tuple[tuple[int, int] | None, ...]


def journal_states(folders: Sequence[Path]) -> JournalStates:
    """Size and time of modification of each file of the journals in `folders`, None where there is none. Blocking."""
    return tuple(_state(folder / name) for folder in folders for name in (JOURNAL, f"{JOURNAL}-wal"))


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


@asynccontextmanager
async def following(
    folders: Sequence[Path],
    known: JournalStates,
    scan: Callable[[Callable[[int], None]], object],
    sink: Sink,
    *,
    changed: asyncio.Event | None = None,
) -> AsyncIterator[None]:
    """Call `scan` in a thread when the journals in `folders` are no longer as `known`, again and again until the end.

    They are looked at every few seconds, and at once when `changed` is set.

    `scan` calls what it gets now and then, with a number, and passes on what that raises at the end of the block. Other
    errors of `scan` are announced; the next change brings another try.
    """
    is_ending, changed = threading.Event(), changed or asyncio.Event()

    def go_on(_: int) -> None:
        if is_ending.is_set():
            raise Interrupted("the server has ended")

    async def follow() -> None:
        before, pause = known, 0.0
        while True:
            await asyncio.sleep(pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, _LOOK_SECONDS - pause)):
                    await changed.wait()
            changed.clear()
            pause = 0.0
            if (states := await asyncio.to_thread(journal_states, folders)) == before:
                continue
            before, began = states, time.monotonic()
            try:
                await in_thread(scan, go_on)
            except BulkdlError as error:
                sink(Noted(f"a mirror has changed, and what is served has not: {error}"))
            pause = _PAUSE * (time.monotonic() - began)

    async with running_alongside(follow()):
        try:
            yield
        finally:
            is_ending.set()
