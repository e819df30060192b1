"""Send groups of instances, and settle what becomes of each: sent, there already, or failed, by name.

A request that is refused as a whole is divided, down to single instances, so that one instance that the archive does
not take, or cannot process, costs no other. What an answer does not confirm is looked for at the archive, and sent once
more alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from bulkdl.archive.dicomweb.store_answers import StoredInstance, StoreVerdict
from bulkdl.archive.dicomweb.store_client import SentFile, StoreClient
from bulkdl.archive.http_status import REDIRECTS
from bulkdl.errors import (
    AccessDenied,
    ArchiveRefused,
    BulkdlError,
    FileDiffers,
    Interrupted,
    NotStored,
    RequestFailed,
    RequestRejected,
)
from bulkdl.runtime.availability import Refusals
from bulkdl.store.files import MirrorFiles
from bulkdl.verbs.pushing.batches import BatchLimits
from bulkdl.verbs.pushing.sent_files import PushItem, sent_file

_TAKES_NONE: Final = frozenset({404, 405, 410, 415, 501})
"""Statuses that say that the archive takes no instances there, if it has taken none before."""
_CONFIRMED: Final = frozenset({StoreVerdict.STORED, StoreVerdict.ALREADY})


class Settlement(Protocol):
    """What is recorded of the instances of a run, each once."""

    def confirmed(
        self, items: Sequence[PushItem], already: Sequence[PushItem], warnings: Sequence[str]
    ) -> Awaitable[None]:
        """The archive has these instances now, those of `already` from before."""

    def failed(self, item: PushItem, error: str, message: str, attempts: int) -> None:
        """The archive does not have an instance, and why."""


@dataclass(slots=True)
class Sending:
    """Sends instances of the mirror `files`. `stop` ends it before the next request."""

    client: StoreClient
    files: MirrorFiles
    limits: BatchLimits
    settlement: Settlement
    stop: asyncio.Event
    _refusals: Refusals = field(default_factory=Refusals)
    _has_taken: bool = False

    async def send(self, items: Sequence[PushItem]) -> None:
        """Send instances until each is settled, or `stop` is set.

        Raises:
            ArchiveRefused, RequestRejected: the archive refuses everything, or takes no instances.
            ArchiveUnreachable: it does not answer.
        """
        pending = [list(items)]
        while pending and not self.stop.is_set():
            part = pending.pop()
            try:
                pending += await self._send(part)
            except Interrupted:
                return

    async def _send(self, part: list[PushItem]) -> list[list[PushItem]]:
        """Send one request; return what is to be sent again, in smaller ones."""
        sent = [sent_file(item, self.files, self.client.http.retrier) for item in part]
        try:
            found = await self.client.store(sent)
        except FileDiffers as error:
            differing = [item for item in part if item.held.sop_uid == error.sop_uid]
            for item in differing:
                self.settlement.failed(item, error.code, str(error), 1)
            rest = [item for item in part if item not in differing]
            return [rest] if rest else []
        except AccessDenied as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise ArchiveRefused(str(error)) from error
            self._refusals.failed(error)
            return self._divided(part, error)
        except RequestFailed as error:
            if error.status in REDIRECTS and not self._has_taken:
                raise
            if error.status in _TAKES_NONE and not self._has_taken:
                hint = "is this the root of DICOMweb, with STOW-RS?"
                raise RequestRejected(f"{error}; it takes no instances there: {hint}", status=error.status) from error
            if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                self.limits.too_large(part)
            return self._divided(part, error)
        return await self._take(part, sent, found)

    def _divided(self, part: list[PushItem], error: BulkdlError) -> list[list[PushItem]]:
        if len(part) > 1:
            return [part[len(part) // 2 :], part[: len(part) // 2]]
        self.settlement.failed(part[0], error.code, str(error), error.attempts)
        return []

    async def _take(
        self, part: list[PushItem], sent: list[SentFile], found: dict[str, StoredInstance]
    ) -> list[list[PushItem]]:
        """Settle what an answer says; return what it does not confirm, one by one."""
        confirmed: list[PushItem] = []
        already: list[PushItem] = []
        unconfirmed: list[PushItem] = []
        warnings: list[str] = []
        for item, file in zip(part, sent, strict=True):
            said = found[item.held.sop_uid]
            if said.verdict in _CONFIRMED or (said.verdict is StoreVerdict.UNCONFIRMED and await self._holds(file)):
                (already if said.verdict is StoreVerdict.ALREADY else confirmed).append(item)
                warnings += [said.message] if said.verdict is StoreVerdict.STORED and said.message else []
            elif said.verdict is StoreVerdict.FAILED:
                self._refused(item, said.message)
            else:
                unconfirmed.append(item)
        if confirmed or already:
            self._has_taken = True
            self._refusals.answered()
            await self.settlement.confirmed(confirmed, already, warnings)
        if len(part) > 1:
            return [[item] for item in unconfirmed]
        for item in unconfirmed:
            self._refused(item, "its answer names the instance neither as stored nor as failed")
        return []

    def _refused(self, item: PushItem, message: str) -> None:
        self.settlement.failed(item, NotStored.code, f"the archive did not store it: {message}", 1)

    async def _holds(self, file: SentFile) -> bool:
        try:
            return await self.client.holds(file)
        except RequestFailed:
            return False
