"""Let the second worker begin first: a short run would be over before its process has started.

The archive delays its answers to one process until another process requests instances too. It distinguishes processes
by the ports of their connections.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psutil

from tests.support.bad_archive import DICOM, OBJECTS, ZIP, BadArchive, endpoint_of, zip_of
from tests.support.faults import Action, Exchange, Seen

_LONGEST_SECONDS: Final = 3.0  # there may be too little work for two
_BYTE_SECONDS: Final = 0.1


class OthersFirst:
    """A fault of `archive`: the process `pid` gets its instances byte by byte until another process requests some."""

    def __init__(self, archive: BadArchive, pid: int) -> None:
        self._archive = archive
        self._process = psutil.Process(pid)
        self._others_ask = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self.was_first = False  # whether another process asked in time

    def __call__(self, seen: Seen) -> Action | None:
        if endpoint_of(seen) not in OBJECTS or self._others_ask.is_set():
            return None
        if not self._is_theirs(seen):
            self.was_first = True
            self._others_ask.set()
            return None
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(_LONGEST_SECONDS, self._others_ask.set)
        return self._held

    def _is_theirs(self, seen: Seen) -> bool:
        try:
            return any(one.laddr.port == seen.port for one in self._process.net_connections("tcp"))
        except psutil.Error:  # it has ended
            return True

    async def _held(self, exchange: Exchange) -> None:
        body, headers = self._right_answer(exchange.seen)
        await exchange.send_head(200, {"Content-Length": str(len(body)), **headers})
        await exchange.trickle(body, self._others_ask, every_seconds=_BYTE_SECONDS)

    def _right_answer(self, seen: Seen) -> tuple[bytes, dict[str, str]]:
        if found := self._archive.find(seen.query.get("SOPInstanceUID", "")):
            return found.content, DICOM
        of_series = [one for one in self._archive.made_up if one.series_uid == seen.query["SeriesInstanceUID"]]
        return zip_of(self._archive.members(of_series)), ZIP
