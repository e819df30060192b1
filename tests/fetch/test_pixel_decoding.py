"""A decoder that crashes does not take the worker with it, and a file that crashes every decoder is invalid."""

from __future__ import annotations

import os
import signal

import pytest

from bulkdl.errors import InvalidInstance, MirrorUnwritable
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import InstanceKey
from tests.support.dicom_files import instances
from tests.support.processes import children_of

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


async def test_a_file_that_crashes_every_decoder_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECODER_DIES_BY", str(signal.SIGABRT.value))
    async with Decoders("tests.support.dying_decoder") as decoders:
        with pytest.raises(InvalidInstance, match="crashed"):
            await decoders.validate(MADE_UP[0].content, None)


@pytest.mark.parametrize("dies_by", [signal.SIGKILL, None], ids=["killed", "before it works"])
async def test_a_decoder_that_never_worked_or_was_killed_says_nothing_about_a_file(
    dies_by: signal.Signals | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dies_by is not None:
        monkeypatch.setenv("DECODER_DIES_BY", str(dies_by.value))
    async with Decoders("tests.support.dying_decoder") as decoders:
        with pytest.raises(MirrorUnwritable, match="killed" if dies_by else "cannot start"):
            await decoders.validate(MADE_UP[0].content, None)
