"""The mirrors that are served, and the runs under way on them: a page, and its numbers as events once a second.

A run saves how far it is beside its journal; nothing is asked of the process that does it. Viewers from whom
Collections are hidden see none of this, because the numbers of a mirror are those of all its Collections.

Source: WHATWG HTML, Server-sent events.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from bulkdl.errors import BulkdlError
from bulkdl.journal.journal import Journal
from bulkdl.runtime.disk import JOURNAL
from bulkdl.server.portal.pages import HEADERS, PageMissing, PageRequest
from bulkdl.server.responses import ServerThreads, Stream
from bulkdl.store.mirror_lock import holder
from bulkdl.store.run_progress import read_progress

_SECONDS: Final = 1.0
_MOST_STREAMS: Final = 50
_MOST_EVENTS: Final = 12 * 3600
_MOST_COLLECTIONS: Final = 200


class RunPages:
    """What is known of the runs on some mirrors. Each is read once a second at most, however many look at it."""

    def __init__(self, mirrors: Sequence[Path], threads: ServerThreads) -> None:
        self._mirrors = mirrors
        self._threads = threads
        self._streams = 0
        self._reading = asyncio.Lock()
        self._states: list[dict[str, Any]] = []
        self._read_at = float("-inf")

    async def values(self, request: PageRequest) -> dict[str, Any]:
        """What the page shows.

        Raises:
            PageMissing: no mirror is served, or Collections are hidden from the viewer.
        """
        if not self._mirrors or request.view.hidden:
            raise PageMissing("No mirror is served whose runs you may see.")
        return {"states": await self.states()}

    async def states(self) -> list[dict[str, Any]]:
        """The state of each mirror, ready for JSON."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if now - self._read_at >= _SECONDS / 2:
                self._states = await self._threads.do(lambda: [_state(mirror) for mirror in self._mirrors])
                self._read_at = now
        return self._states

    async def events(self, http: web.Request, request: PageRequest) -> web.StreamResponse:
        """Send the states once a second, until the browser leaves.

        Raises:
            PageMissing: as `values`.
        """
        await self.values(request)
        if self._streams >= _MOST_STREAMS:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, headers=HEADERS)
        response = Stream(headers={**HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self._streams += 1
        try:
            await response.prepare(http)
            for _ in range(_MOST_EVENTS):
                document = json.dumps(await self.states())
                await response.send(f"data: {document}\n\n".encode(errors="replace"))
                await asyncio.sleep(_SECONDS)
        except ConnectionError:
            pass  # the browser has left
        finally:
            self._streams -= 1
        return response


def _state(mirror: Path) -> dict[str, Any]:
    """The state of a mirror. Its path, and who works on it, are not for people elsewhere."""
    state: dict[str, Any] = {"name": mirror.resolve().name, "error": "", "progress": None}
    try:
        with Journal.open_readonly(mirror / JOURNAL) as journal, journal.snapshot():
            counts, last = journal.counts(None), journal.last_run()
            state |= {
                "verb": last.verb if last else "",
                "started": f"{last.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if last else "",
                "outcome": last.outcome.value if last and last.outcome else "",
                "held": counts.held,
                "owed": counts.owed,
                "failed": counts.failed,
                "quarantined": counts.quarantined,
                "held_bytes": counts.held_bytes,
                "collections": [asdict(one) for one in journal.collections()[:_MOST_COLLECTIONS]],
                "failures": journal.failures_by_error(),
            }
    except BulkdlError:
        return {**state, "error": "its journal cannot be read"}
    if (progress := read_progress(mirror)) is not None and holder(mirror) is not None:
        state["progress"] = asdict(progress)
    return state
