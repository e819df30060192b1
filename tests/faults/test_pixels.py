"""Pixels that cannot be decoded, at `--validate pixels`: also where the decoder takes its process with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.settings import Transport, ValidationLevel
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import MadeUp, instances
from tests.support.mirrors import checksums_of, checksums_on_disk


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
