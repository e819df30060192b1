"""What is needed of the archive behind a cache and not here yet: whole Series, and single instances. Pure.

However many ask for a Series or an instance, it is one demand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Entry
from bulkdl.server.responses import Unavailable
from bulkdl.server.supply import Wanted


@dataclass(slots=True)
class Demand:
    """A Series that is needed and not whole. `folder` and `entries` are None until it is listed.

    `arrived` are the names of its files in the order of arrival, and `failures` why entries failed, both by key; `here`
    are the SOP Instance UIDs of the files, `listed` those of the list, None if it has no UIDs. `has_ended`: nothing
    more is to come.
    """

    series_uid: SeriesUid
    lost: tuple[SopInstanceUid, ...] = ()
    folder: str | None = None
    entries: frozenset[str] | None = None
    listed: frozenset[str] | None = None
    arrived: dict[str, str] = field(default_factory=dict)
    here: set[str] = field(default_factory=set)
    failures: dict[str, Unavailable] = field(default_factory=dict)
    error: Unavailable | None = None
    has_ended: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # replaced at each change, to wake all waiters

    @property
    def failure(self) -> Unavailable | None:
        """Why the Series is not whole; None while it may still become so."""
        return self.error or next(iter(self.failures.values()), None)

    def has(self, wanted: Wanted) -> bool:
        """Whether an instance has arrived, or never will because the Series does not have it."""
        return _is_in(wanted, self.here) or (self.listed is not None and not _is_in(wanted, self.listed))

    def took(self, key: str, sop_uid: str, name: str) -> None:
        """A file has arrived."""
        self.arrived.setdefault(key, name)
        self.here.add(sop_uid)
        self.failures.pop(key, None)

    @property
    def is_over(self) -> bool:
        """Whether all its entries have arrived or failed. Takes a while for many entries."""
        return self.entries is not None and self.entries <= self.arrived.keys() | self.failures.keys()

    def notify(self, *, has_ended: bool) -> None:
        """Wake all who wait for a change."""
        self.has_ended = has_ended
        self.changed.set()
        self.changed = asyncio.Event()


def _is_in(wanted: Wanted, sop_uids: AbstractSet[str]) -> bool:
    return wanted in sop_uids if isinstance(wanted, str) else any(map(wanted, sop_uids))


@dataclass(slots=True)
class InstanceDemand:
    """One instance that is needed, of a Series that is not. `lost`: it is held, and its file is missing.

    `failure` is why it does not arrive; `has_ended` is set when it has arrived or failed.
    """

    series_uid: SeriesUid
    entry: Entry
    lost: tuple[SopInstanceUid, ...] = ()
    failure: Unavailable | None = None
    has_ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, failure: Unavailable | None = None) -> None:
        """Wake all who wait."""
        self.failure = failure
        self.has_ended.set()


@dataclass(slots=True)
class Demands:
    """All demands: `whole` has those for Series, `single` those for instances, by Series and key.

    `waiting` are those that no run has begun, in the order in which they came. `new` is set when there is something to
    do: a demand has come or ended.
    """

    whole: dict[str, Demand] = field(default_factory=dict)
    single: dict[tuple[str, str], InstanceDemand] = field(default_factory=dict)
    waiting: list[Demand | InstanceDemand] = field(default_factory=list)
    new: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def are_open(self) -> bool:
        """Whether there are any."""
        return bool(self.whole or self.single)

    def add(self, series_uid: str, lost: tuple[SopInstanceUid, ...]) -> Demand:
        """A demand for a Series that has none."""
        demand = self.whole[series_uid] = Demand(SeriesUid(series_uid), lost)
        self.waiting.append(demand)
        self.new.set()
        return demand

    def of_instance(self, series_uid: SeriesUid, entry: Entry, lost: tuple[SopInstanceUid, ...]) -> InstanceDemand:
        """The demand for an instance, a new one if there is none."""
        if (demand := self.single.get((series_uid, entry.key))) is None:
            demand = self.single[series_uid, entry.key] = InstanceDemand(series_uid, entry, lost)
            self.waiting.append(demand)
            self.new.set()
        return demand
