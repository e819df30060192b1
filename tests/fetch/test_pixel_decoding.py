"""A decoder that crashes does not take the worker with it, and a file that crashes every decoder is invalid."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from bulkdl.errors import InvalidInstance
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import InstanceKey
from tests.support.dicom_files import instances
from tests.support.processes import children_of
from tests.support.waiting import until

MADE_UP = list(instances(series=1, per_series=1))


async def test_the_crash_of_a_decoder_does_not_fail_the_file() -> None:
    one = MADE_UP[0]
    key = InstanceKey(SeriesUid(one.series_uid), SopInstanceUid(one.sop_uid))
    async with Decoders() as decoders:
        assert (await decoders.validate(one.content, key)).sop_uid == one.sop_uid
        for pid in children_of(os.getpid(), "bulkdl.fetch.pixel_decoding"):
            os.kill(pid, signal.SIGKILL)
        assert (await decoders.validate(one.content, key)).sop_uid == one.sop_uid
    assert not children_of(os.getpid(), "bulkdl.fetch.pixel_decoding")


async def test_a_file_that_crashes_every_decoder_is_invalid() -> None:
    one = MADE_UP[0]
    key = InstanceKey(SeriesUid(one.series_uid), SopInstanceUid(one.sop_uid))
    is_over = asyncio.Event()

    def kill_all_and_see_whether_it_is_over() -> bool:
        for pid in children_of(os.getpid(), "bulkdl.fetch.pixel_decoding"):
            os.kill(pid, signal.SIGKILL)
        return is_over.is_set()

    async with Decoders() as decoders, asyncio.TaskGroup() as group:
        group.create_task(until(kill_all_and_see_whether_it_is_over))
        with pytest.raises(InvalidInstance, match="crashed"):
            await decoders.validate(one.content, key)
        is_over.set()
