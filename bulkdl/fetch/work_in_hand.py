"""The work that workers have: instances that were given out, and have no recorded outcome yet, by Series."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceOutcome, SeriesWork
from bulkdl.runtime.tally import Tally
from bulkdl.runtime.tasks import first_set

_AT_WORK: Final = 3  # folders that are named in the progress


class WorkInHand:
    """What is in hand. `some_ended` is set whenever something ends, or a worker gives it back.

    `stop` ends every wait.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self.some_ended = asyncio.Event()
        self._stop = stop
        self._instances = Tally[SeriesUid]()
        self._folders: dict[SeriesUid, str] = {}
        self._without_outcome: set[tuple[SeriesUid, str]] = set()  # Series and key of instances that are followed

    def __contains__(self, series_uid: SeriesUid) -> bool:
        return series_uid in self._instances

    def __len__(self) -> int:
        """The number of instances."""
        return self._instances.total()

    def series(self) -> frozenset[SeriesUid]:
        """The Series of which something is in hand."""
        return frozenset(self._instances)

    def folders(self) -> tuple[str, ...]:
        """The first of the top folders of these Series: in most layouts their Collections."""
        found = dict.fromkeys(folder.partition("/")[0] for folder in self._folders.values())
        return tuple(filter(None, found))[:_AT_WORK]

    def give_out(self, work: SeriesWork) -> None:
        """A worker gets this."""
        self._instances[work.series_uid] += len(work.entries)
        self._folders[work.series_uid] = work.folder

    def give_back(self, series_uid: SeriesUid, instances: int) -> None:
        """So many instances of a Series that a worker was given are still owed: it died, or others come first."""
        self._end(series_uid, instances)

    def end(self, outcomes: Sequence[InstanceOutcome]) -> None:
        """These outcomes are recorded."""
        if self._without_outcome:
            self._without_outcome.difference_update((outcome.series_uid, outcome.key) for outcome in outcomes)
        for series_uid, instances in Counter(outcome.series_uid for outcome in outcomes).items():
            self._end(series_uid, instances)

    def _end(self, series_uid: SeriesUid, instances: int) -> None:
        self._instances.take(series_uid, instances)
        if series_uid not in self._instances:
            self._folders.pop(series_uid, None)
        self.some_ended.set()

    async def until_all_ended(self) -> None:
        """Wait until no worker has anything, or the run is stopped."""
        while self._instances and not self._stop.is_set():
            self.some_ended.clear()
            await first_set(self.some_ended, self._stop)

    def follow(self, work: SeriesWork) -> None:
        """Remember each instance of `work`, for `rest_of`, until it has an outcome."""
        self._without_outcome.update((work.series_uid, entry.key) for entry in work.entries)

    def rest_of(self, work: SeriesWork) -> SeriesWork:
        """The same without the instances that have an outcome since it was followed."""
        named = zip(work.entries, work.names, strict=True)
        rest = [(entry, name) for entry, name in named if (work.series_uid, entry.key) in self._without_outcome]
        entries, names = tuple(entry for entry, _ in rest), tuple(name for _, name in rest)
        return replace(work, entries=entries, names=names, whole=False)
