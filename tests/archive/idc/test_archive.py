from __future__ import annotations

import asyncio

import pytest

from bulkdl.archive.base import Listing
from bulkdl.archive.connect import capabilities, connect
from bulkdl.archive.profiles import find_profile
from bulkdl.errors import RequestRejected
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, Series
from bulkdl.runtime.attempts import Retrier, RetryPolicy
from bulkdl.runtime.concurrency import Limiter

PROFILE = find_profile("idc+http://127.0.0.1:9")  # nothing answers there
UID = SeriesUid("1.2.3")


async def test_answers_what_needs_no_bucket() -> None:
    retrier = Retrier(
        limiter=Limiter(ceiling=4), policy=RetryPolicy(max_attempts=1, give_up_after_seconds=1), stop=asyncio.Event()
    )
    async with connect(PROFILE, retrier) as archive:
        assert await archive.list(Series(series_uid=UID)) == Listing()
        assert await archive.checksum(UID, Entry("b/s/i.dcm", md5=b"m" * 16)) == b"m" * 16
        assert await archive.series_checksum(UID) is None
        with pytest.raises(RequestRejected, match="no bundle"):
            archive.open_bundle(UID)
        assert archive.requests == 0


def test_says_what_it_can_do_without_a_request() -> None:
    able = capabilities(PROFILE)
    assert able.ranges
    assert not able.lists_sop_uids
    assert able.bundle is None
    assert not able.takes_key
