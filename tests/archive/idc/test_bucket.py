from __future__ import annotations

import asyncio

import pytest

from bulkdl.archive.connect import connect
from bulkdl.archive.profiles import find_profile
from bulkdl.errors import ConnectFailed
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry
from bulkdl.runtime.attempts import Retrier, RetryPolicy
from bulkdl.runtime.concurrency import Limiter


async def test_names_a_bucket_that_cannot_be_reached() -> None:
    policy = RetryPolicy(max_attempts=1, give_up_after_seconds=1)
    retrier = Retrier(limiter=Limiter(ceiling=4), policy=policy, stop=asyncio.Event())
    async with connect(find_profile("idc+http://127.0.0.1:9"), retrier) as archive:
        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1"):
            async with archive.open(SeriesUid("1.2.3"), Entry("bucket/series/instance.dcm")):
                pass
