"""Instances that clients store at the server: what the server asks of the mirror that takes them.

`verbs` has the reception itself, because it writes a mirror and its journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bulkdl.store.partials import Partials


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """What became of one part of a request. `reason` is a Failure Reason (PS3.18 Annex I.2), None if it is stored.

    `sop_uid` is None if the part is not an instance that can be identified. A part that is stored has all UIDs.
    """

    reason: int | None
    sop_uid: str | None = None
    sop_class_uid: str | None = None
    series_uid: str | None = None
    study_uid: str | None = None


class Reception(Protocol):
    """The mirror that takes instances. Parts wait in `partials` until `settle` takes them."""

    @property
    def partials(self) -> Partials:
        """Where parts are written."""

    def next_name(self) -> str:
        """Return a name for the partial file of a part, which no other one has."""

    async def settle(
        self, names: Sequence[str], *, study_uid: str | None, hidden: frozenset[str]
    ) -> list[ReceivedInstance]:
        """Take written partial files into the mirror, and return what became of each, in order.

        What is stored then is synced, in its place, and in the journal. Each instance has to be of the Study
        `study_uid`, if that is given, and of no Collection of `hidden`, in upper case. No partial file remains.

        Raises:
            DiskError, JournalError: nothing of the request is in the journal.
        """
