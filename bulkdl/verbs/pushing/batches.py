"""Group instances into requests: of one Study, and no more than the archive takes. Pure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

from bulkdl.verbs.pushing.sent_files import PushItem

_MOST_INSTANCES: Final = 100
_MOST_BYTES: Final = 32 << 20  # what is in flight when a connection breaks is sent again


class BatchLimits:
    """The most instances and bytes of a request. One instance alone may be larger."""

    def __init__(self, most_instances: int = _MOST_INSTANCES, most_bytes: int = _MOST_BYTES) -> None:
        self._most_instances = most_instances
        self._most_bytes = most_bytes

    def too_large(self, items: Sequence[PushItem]) -> None:
        """The archive has refused a request of these instances for its size: the next ones are smaller."""
        size_bytes = sum(item.held.size_bytes for item in items)
        self._most_bytes = max(1, min(self._most_bytes, size_bytes // 2))

    def admit(self, count: int, size_bytes: int) -> bool:
        """Whether a request may have so many instances and bytes."""
        return count <= 1 or (count <= self._most_instances and size_bytes <= self._most_bytes)


async def batches_of(items: AsyncIterator[PushItem], limits: BatchLimits) -> AsyncGenerator[list[PushItem], None]:
    """The same items in groups that `limits` admits, each of one Study, in order."""
    batch: list[PushItem] = []
    size_bytes = 0
    async for item in items:
        size_bytes += item.held.size_bytes
        is_other_study = bool(batch) and batch[-1].study_uid != item.study_uid
        if batch and (is_other_study or not limits.admit(len(batch) + 1, size_bytes)):
            yield batch
            batch, size_bytes = [], item.held.size_bytes
        batch.append(item)
    if batch:
        yield batch
