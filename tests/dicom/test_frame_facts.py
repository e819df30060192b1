from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulkdl.dicom.frame_facts import read_frame_facts
from bulkdl.errors import InvalidInstance
from tests.support.dicom_samples import encoded, image, pydicom_file, pydicom_files


def test_says_what_a_viewer_needs(tmp_path: Path) -> None:
    path = tmp_path / "x"
    windows = {
        "WindowCenter": ["40", "600"],
        "WindowWidth": ["400", "0.5"],
        "WindowCenterWidthExplanation": ["SOFT", "X"],
    }
    path.write_bytes(encoded(image(Modality="CT", CineRate="25", **windows)))
    facts = read_frame_facts(path)
    assert facts["windows"] == [{"name": "SOFT", "centre": 40.0, "width": 400.0}]
    assert (facts["frames"], facts["fps"], facts["is_grey"], facts["modality"]) == (1, 25.0, True, "CT")


@pytest.mark.parametrize("value", ["0", "-5", "1000000"])
def test_a_speed_that_makes_no_sense_is_bounded(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(encoded(image(CineRate=value) if len(value) < 7 else image(FrameTime="0.001")))
    assert 1 <= read_frame_facts(path)["fps"] <= 60


def test_every_file_has_facts_that_are_json_or_is_invalid() -> None:
    for path in pydicom_files():
        try:
            facts = read_frame_facts(path)
        except InvalidInstance:
            continue
        assert json.loads(json.dumps(facts, allow_nan=False))["frames"] >= 1


def test_frames_are_counted() -> None:
    assert read_frame_facts(pydicom_file("rtdose.dcm"))["frames"] == 15
