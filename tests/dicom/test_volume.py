"""Volumes: arrays equal those of the phantom, and a Series that is not one volume says why."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

from bulkdl.dicom.volume import has_pixels, read_volume
from bulkdl.errors import ConfigurationError, InvalidVolume


@pytest.fixture(scope="module")
def study(demo_cache: Path) -> Path:
    """A Study of the phantom; its second MR Series is compressed."""
    (folder,) = demo_cache.glob("bulkdl/phantoms-*/PHANTOM-003/STUDY-1")
    return folder


def slices(folder: Path) -> list[FileDataset]:
    """The files of a Series from feet to head."""
    return [dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def altered(folder: Path, target: Path, change: Callable[[list[FileDataset]], Sequence[FileDataset]]) -> list[Path]:
    """The first eight files of a Series after `change`, written to `target`."""
    paths = []
    for number, data_set in enumerate(change(slices(folder)[:8])):
        paths.append(target / f"{number}.dcm")
        data_set.save_as(paths[-1])
    return paths


@pytest.mark.parametrize("name", ["CT", "PET", "T1", "T2"])
def test_the_array_and_its_place_are_those_of_the_phantom(name: str, study: Path) -> None:
    originals = slices(study / name)
    volume = read_volume("1.2", sorted((study / name).glob("*.dcm"), key=lambda path: hash(path.name)))
    expected = [one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
                for one in reversed(originals)]  # fmt: skip
    assert np.array_equal(volume.array, np.array(expected, dtype=np.float32))
    assert volume.array.dtype == np.float32
    spacing = [float(value) for value in originals[0].PixelSpacing]
    assert volume.spacing_mm == (float(originals[0].SliceThickness), *spacing)
    for index, original in enumerate(reversed(originals)):
        assert np.allclose((volume.affine @ [index, 0, 0, 1])[:3], [float(mm) for mm in original.ImagePositionPatient])
    corner = volume.affine @ [0, 2, 3, 1] - volume.affine @ [0, 0, 0, 1]
    assert np.allclose(corner[:3], [3 * spacing[1], 2 * spacing[0], 0])  # rows go to the back, columns to the left


def test_a_multi_frame_image_is_a_volume(study: Path) -> None:
    (path,) = (study / "SEG").glob("*.dcm")
    volume, original = read_volume("1.2", [path]), dcmread(path)
    assert volume.array.shape == (int(original.NumberOfFrames), original.Rows, original.Columns)
    assert volume.array.sum() == original.pixel_array.sum()


def _without(keyword: str) -> Callable[[list[FileDataset]], list[FileDataset]]:
    def change(images: list[FileDataset]) -> list[FileDataset]:
        delattr(images[3], keyword)
        return images

    return change


def _with(keyword: str, value: list[str]) -> Callable[[list[FileDataset]], list[FileDataset]]:
    def change(images: list[FileDataset]) -> list[FileDataset]:
        setattr(images[3], keyword, value)
        return images

    return change


BAD = {
    "a slice is missing": (lambda images: images[:3] + images[4:], r"no slice at \(-224.121, -224.121, -372\) mm: 1 m"),
    "two are missing": (lambda images: images[:3] + images[5:], r", -360\), \(.*, -372\) mm: 2 missing"),
    "a slice is there twice": (lambda images: [*images, images[2]], "9 images at 8 positions"),
    "orientations differ": (_with("ImageOrientationPatient", ["0", "1", "0", "0", "0", "1"]), "2 different ImageOrien"),
    "spacings differ": (_with("PixelSpacing", ["2", "2"]), "2 different PixelSpacing"),
    "distances differ": (_with("ImagePositionPatient", ["-224.12109375", "-224.12109375", "-370"]), "not a volume"),
    "a position is absent": (_without("ImagePositionPatient"), "an image has no ImagePositionPatient"),
    "pixels are absent": (_without("PixelData"), "not a volume"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_series_that_is_not_one_volume_says_why(kind: str, study: Path, tmp_path: Path) -> None:
    change, message = BAD[kind]
    paths = altered(study / "CT", tmp_path, change)
    with pytest.raises(InvalidVolume, match=message) as raised:
        read_volume("1.2.3", paths)
    assert "series 1.2.3" in str(raised.value)


def test_frames_that_cannot_be_decoded_are_an_error_of_the_volume(study: Path, tmp_path: Path) -> None:
    def cut(images: list[FileDataset]) -> list[FileDataset]:
        images[3].PixelData = images[3].PixelData[:60]
        return images

    with pytest.raises(InvalidVolume):
        read_volume("1.2.3", altered(study / "T2", tmp_path, cut))


def test_only_images_have_pixels(study: Path) -> None:
    found = {folder.name: has_pixels(next(folder.glob("*.dcm"))) for folder in study.iterdir()}
    assert found == {"CT": True, "PET": True, "T1": True, "T2": True, "SEG": True, "RTSTRUCT": False}


def test_without_highdicom_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'bulkdl\[volumes\]'"):
        read_volume("1.2", [])
