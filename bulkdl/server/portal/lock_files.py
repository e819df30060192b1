"""Lock files of Series that are served: each instance with its size and its MD5.

A cache has neither of a Series that it does not hold. Some archives list them; from the others the Series would have to
be downloaded first, for longer than a browser waits.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Final, TypeAlias

from bulkdl.manifest.locked import LockedGroup, LockedInstance, LockedSeries, lock_lines
from bulkdl.model.ids import SopInstanceUid
from bulkdl.runtime.tasks import as_iterator, run_pool
from bulkdl.server.catalogue import CatalogueView
from bulkdl.server.context import ServerContext
from bulkdl.server.portal.listings import image_count
from bulkdl.server.portal.pages import PageMissing, PageRequest
from bulkdl.server.supply import ListedInstance, Supply, list_or_download

Listed: TypeAlias = Mapping[str, Sequence[ListedInstance]]
"""The instances of Series that are not held, by the UIDs of the Series."""

MOST_SERIES: Final = 2_000
_MOST_LISTED: Final = 20_000
_LISTS_AT_ONCE: Final = 4


def why_no_lock(request: PageRequest, series_uids: Sequence[str], count: int) -> str:
    """Why there can be no lock file of so many Series, or of these, now; empty if there can. Blocking."""
    supply = request.supply
    if count > MOST_SERIES:
        return f"This server makes no lock file of more than {MOST_SERIES:,} series."
    if supply is None or supply.lists_checksums or all(map(supply.is_whole, series_uids)):
        return ""
    return (
        "A lock file has the checksum of every file, which the archive does not list: "
        "it is offered once all files are on this server."
    )


async def lock_chunks(
    request: PageRequest, context: ServerContext, series_uids: Sequence[str], stack: AsyncExitStack
) -> Iterator[str]:
    """The lines of a lock file. What has to be downloaded for it stays in the cache until the `stack` ends.

    Raises:
        PageMissing: there can be none now, or the archive would have to be asked for too many instances.
        Unavailable: the archive of a cache does not list its instances, or does not send them.
    """
    if reason := await context.threads.do(why_no_lock, request, series_uids, len(series_uids)):
        raise PageMissing(reason)
    listed: Listed = {}
    if request.supply is not None:
        missing = await context.threads.do(missing_series, request.view, request.supply, series_uids)
        listed = await _list(request.supply, missing, stack)
    return _lines(request, series_uids, listed)


def missing_series(view: CatalogueView, supply: Supply, series_uids: Sequence[str]) -> list[str]:
    """The Series that a cache does not have whole. Blocking.

    Raises:
        PageMissing: the archive would have to be asked for too many instances.
    """
    missing = [uid for uid in series_uids if not supply.is_whole(uid)]
    if image_count(view, missing) > _MOST_LISTED:
        raise PageMissing(
            f"More than {_MOST_LISTED:,} instances are not on this server yet, too many to ask the archive for their "
            "checksums: download a manifest, or fewer series."
        )
    return missing


async def _list(supply: Supply, series_uids: Sequence[str], stack: AsyncExitStack) -> Listed:
    listed: dict[str, Sequence[ListedInstance]] = {}

    async def list_one(series_uid: str) -> None:
        if (instances := await list_or_download(supply, series_uid, stack)) is not None:
            listed[series_uid] = instances

    await run_pool(as_iterator(series_uids), list_one, workers=_LISTS_AT_ONCE)
    return listed


def _lines(request: PageRequest, series_uids: Sequence[str], listed: Listed) -> Iterator[str]:
    view = request.view

    def groups() -> Iterator[LockedGroup]:
        for detail in sorted(view.details_of(series_uids), key=lambda each: each.series.series_uid):
            series_uid = detail.series.series_uid
            found = listed.get(series_uid)
            instances = [_listed(one) for one in found] if found is not None else _held(view, series_uid)
            yield LockedSeries.of(detail.series), sorted(instances, key=lambda each: each.name)

    date = datetime.now(UTC).isoformat(timespec="seconds")
    return lock_lines(groups, archive=f"nbia {request.origin}/nbia-api/services", date=date)


def _held(view: CatalogueView, series_uid: str) -> list[LockedInstance]:
    files = view.files(series_uid)
    return [LockedInstance(SopInstanceUid(file.sop_uid), file.size_bytes, view.md5(file), None) for file in files]


def _listed(one: ListedInstance) -> LockedInstance:
    return LockedInstance(SopInstanceUid(one.sop_uid), one.size_bytes, one.md5, None)
