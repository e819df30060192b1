"""Lock files: when there can be one. What is in them: `test_downloads`, for a cache `verbs/serving/test_gateway`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest
from multidict import MultiDict

from bulkdl.server.access import Viewer
from bulkdl.server.catalogue import CatalogueView
from bulkdl.server.portal.lock_files import missing_series, why_no_lock
from bulkdl.server.portal.pages import PageMissing, PageRequest
from bulkdl.server.supply import Arriving, ListedInstance, Wanted


@dataclass
class Holding:
    """The cache of an archive, which has some Series, and of which nothing is downloaded."""

    whole: frozenset[str] = frozenset()
    lists_checksums: bool = False
    note: str = ""

    def is_whole(self, series_uid: str) -> bool:
        return series_uid in self.whole

    async def sop_uids(self, series_uid: str) -> Sequence[str] | None:
        raise NotImplementedError

    async def listed(self, series_uid: str) -> Sequence[ListedInstance] | None:
        raise NotImplementedError

    def using(self, series_uid: str) -> AbstractAsyncContextManager[None]:
        raise NotImplementedError

    def using_one(self, series_uid: str, wanted: Wanted) -> AbstractAsyncContextManager[None]:
        raise NotImplementedError

    def arriving(self, series_uid: str) -> AbstractAsyncContextManager[Arriving | None]:
        raise NotImplementedError

    def downloading(self, series_uid: str) -> AbstractAsyncContextManager[None]:
        raise NotImplementedError


def view_of(images: int) -> CatalogueView:
    """A catalogue whose Series have so many images each."""
    return CatalogueView(lambda _query, values: [(images * len(values),)], lambda _: b"")


@pytest.mark.parametrize(
    ("supply", "reason"),
    [
        (None, ""),
        (Holding(frozenset({"1.2", "1.3"})), ""),
        (Holding(frozenset({"1.2"})), "checksum of every file"),
        (Holding(lists_checksums=True), ""),
    ],
    ids=["folder", "all-here", "some-missing", "listed"],
)
@pytest.mark.parametrize("count", [2, 2_001])
def test_there_is_a_lock_of_few_series_whose_checksums_are_known(
    supply: Holding | None, reason: str, count: int
) -> None:
    request = PageRequest(
        view=view_of(1),
        viewer=Viewer("x"),
        path="/",
        query=MultiDict(),
        origin="http://127.0.0.1",
        match={},
        supply=supply,
    )
    found = why_no_lock(request, ["1.2", "1.3"], count)
    expected = reason if count == 2 else "more than 2,000 series"
    assert (expected in found, bool(found)) == (True, bool(expected))


def test_the_archive_is_asked_for_a_limited_number_of_instances() -> None:
    supply = Holding(frozenset({"1.2"}))
    assert missing_series(view_of(10_000), supply, ["1.2", "1.3", "1.4"]) == ["1.3", "1.4"]
    with pytest.raises(PageMissing, match="20,000 instances"):
        missing_series(view_of(10_001), supply, ["1.2", "1.3", "1.4"])
