"""Pixels that cannot be decoded, at `--validate pixels`: also where the decoder takes its process with it."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from bulkdl.errors import InvalidInstance
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import InstanceKey
from bulkdl.model.reports import RunOutcome
from bulkdl.model.settings import Transport, ValidationLevel
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import MadeUp, instances
from tests.support.mirrors import checksums_of, checksums_on_disk
from tests.support.processes import children_of
from tests.support.waiting import until


def real(name: str) -> MadeUp:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    found = pydicom.dcmread(path)
    return MadeUp(
        "REAL",
        str(found.PatientID or "P"),
        found.StudyInstanceUID,
        found.SeriesInstanceUID,
        found.SOPInstanceUID,
        Path(path).read_bytes(),
    )


MADE_UP = list(instances(series=1, per_series=3))


@pytest.mark.parametrize("transport", [Transport.SINGLE, Transport.ZIP])
async def test_pixels_that_cannot_be_decoded_are_named_and_their_neighbours_are_whole(
    tmp_path: Path, transport: Transport
) -> None:
    sound = real("MR_small_RLE.dcm")
    damaged = replace(real("SC_rgb_rle.dcm"), content=_with_cut_rle(real("SC_rgb_rle.dcm").content))
    async with BadArchive([*MADE_UP, sound, damaged]) as archive:
        report = await archive.mirror(tmp_path, validation=ValidationLevel.PIXELS, transport=transport)
    (failure,) = report.failures
    assert (failure.instance, failure.error) == (damaged.sop_uid, "unsound-at-source")
    assert "\n" not in failure.message
    assert report.outcome is RunOutcome.PARTIAL
    assert set(checksums_on_disk(tmp_path / "mirror").values()) == set(checksums_of([*MADE_UP, sound]).values())


def _with_cut_rle(content: bytes) -> bytes:
    """Its RLE header promises segments that lie beyond the end of the fragment."""
    found = content.rindex(b"\xfe\xff\x00\xe0", 0, len(content) - 8)
    start = found + 8
    return content[: start + 4] + b"\xf0\xff\xff\x7f" + content[start + 8 :]


async def test_a_decoder_that_dies_is_no_death_of_the_run() -> None:
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
