"""Read the images of a Series as one array, with their place in the Patient. highdicom orders the slices.

highdicom comes with the extra `bulkdl[volumes]`, and is imported when a volume is read.

Source: PS3.3 §C.7.6.2 (Image Plane module), §C.11.1 (Modality LUT), §C.7.6.16 (functional groups).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bulkdl.dicom.pixels import SAFE_PLUGINS
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import BulkdlError, ConfigurationError, InvalidVolume
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

DataSet: TypeAlias = "Dataset"

_SPACING_TOLERANCE: Final = 0.01
"""How much the distances of slices may differ, as a part of their mean: the default of highdicom."""
_POSITIONS_NAMED: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """The images of a Series as one array.

    `array` is of float32, with the shape (slices, rows, columns), and (slices, rows, columns, 3) for RGB. Its values
    are those after the modality LUT: Hounsfield units for CT; stored values where there is no such transform.
    `spacing_mm` has one distance for each of the first three axes. `affine` is 4 by 4: it maps the indices
    (slice, row, column, 1) to millimetres in the DICOM coordinates of the Patient, where x grows to the left, y to
    the back and z to the head (LPS). Slices are ordered along the direction of growing index of this matrix, whatever
    the order of their files and Instance Numbers.
    """

    series_uid: str
    array: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]


def require_highdicom() -> None:
    """Raises ConfigurationError: highdicom is not installed."""
    try:
        import highdicom  # noqa: F401, PLC0415 - slow to import, and an extra
    except ImportError as error:
        raise ConfigurationError("volumes need highdicom; add it with: pip install 'bulkdl[volumes]'") from error


def read_data_set(path: Path) -> DataSet:
    """Read a file with pydicom. Raises OSError, or pydicom's InvalidDicomError."""
    import pydicom  # noqa: PLC0415 - slow to import

    return pydicom.dcmread(path)


def has_pixels(path: Path) -> bool:
    """Whether the attributes of a file describe an image: it has Rows and Columns."""
    import pydicom  # noqa: PLC0415 - slow to import

    with suppressed_pydicom_warnings:
        return "Rows" in pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows"])


def read_volume(series_uid: str, paths: Sequence[Path]) -> Volume:
    """Read the files of one Series as a volume. All of their pixels are in memory at once.

    Raises:
        InvalidVolume: the images are not the slices of one volume, with the reason: a slice is missing or there twice,
            orientations or pixel spacings differ, or an image cannot be decoded.
        ConfigurationError: highdicom is not installed.
    """
    require_highdicom()
    with suppressed_pydicom_warnings:
        try:
            return _read(series_uid, [_decompressed(read_data_set(path)) for path in paths])
        except BulkdlError:
            raise
        except Exception as error:  # highdicom, pydicom and decoders raise many kinds of exceptions
            raise InvalidVolume(f"series {series_uid} is not a volume: {error_text(error)}") from error


def _read(series_uid: str, data_sets: Sequence[DataSet]) -> Volume:
    import highdicom  # noqa: PLC0415 - slow to import, and an extra
    import numpy as np  # noqa: PLC0415 - the same

    raw: dict[str, Any] = {"dtype": np.float32, "apply_presentation_lut": False}
    multi_frame = [one for one in data_sets if "SharedFunctionalGroupsSequence" in one or "NumberOfFrames" in one]
    if not multi_frame:
        _check_slices(series_uid, data_sets)
        volume = highdicom.get_volume_from_series(data_sets, **raw, rtol=_SPACING_TOLERANCE)
    elif len(data_sets) == 1:
        volume = highdicom.Image.from_dataset(data_sets[0]).get_volume(**raw, rtol=_SPACING_TOLERANCE)
    else:
        raise InvalidVolume(f"series {series_uid} has {len(data_sets)} files, {len(multi_frame)} of them multi-frame")
    between, down, across = (float(value) for value in volume.spacing)
    return Volume(series_uid, volume.array, (between, down, across), volume.affine)


def _check_slices(series_uid: str, data_sets: Sequence[DataSet]) -> None:
    """Name what highdicom only refuses: attributes that are absent or differ, and slices that are missing or double."""
    for keyword in ("ImageOrientationPatient", "PixelSpacing", "ImagePositionPatient"):
        values = {tuple(map(float, one.get(keyword) or ())) for one in data_sets}
        if () in values:
            raise InvalidVolume(f"series {series_uid} is not a volume: an image has no {keyword}")
        if len(values) > 1 and keyword != "ImagePositionPatient":
            raise InvalidVolume(f"series {series_uid} is not one volume: {len(values)} different {keyword}")
        if len(values) < len(data_sets) and keyword == "ImagePositionPatient":
            raise InvalidVolume(f"series {series_uid} has {len(data_sets)} images at {len(values)} positions")
    if missing := _missing_slices(data_sets):
        named = ", ".join(f"({x:g}, {y:g}, {z:g})" for x, y, z in missing[:_POSITIONS_NAMED])
        more = f" and {len(missing) - _POSITIONS_NAMED} more" if len(missing) > _POSITIONS_NAMED else ""
        raise InvalidVolume(f"series {series_uid} has no slice at {named}{more} mm: {len(missing)} missing")


def _missing_slices(data_sets: Sequence[DataSet]) -> list[tuple[float, ...]]:
    """Positions in mm between the first slice and the last where there should be one; none for uneven distances."""
    import numpy as np  # noqa: PLC0415 - slow to import, and an extra
    from highdicom.spatial import get_volume_positions  # noqa: PLC0415 - the same

    positions = np.array([one.ImagePositionPatient for one in data_sets], dtype=np.float64)
    orientation = [float(value) for value in data_sets[0].ImageOrientationPatient]
    _, indices = get_volume_positions(
        positions.tolist(), orientation, rtol=_SPACING_TOLERANCE, allow_missing_positions=True
    )
    if indices is None or max(indices) < len(indices):
        return []
    first, last = positions[indices.index(0)], positions[indices.index(max(indices))]
    absent = sorted(set(range(max(indices))) - set(indices))
    return [tuple(first + (last - first) * index / max(indices)) for index in absent]


def _decompressed(data_set: DataSet) -> DataSet:
    """The data set with native pixels, decoded by a decoder that raises instead of ending the process."""
    if not data_set.file_meta.TransferSyntaxUID.is_encapsulated:
        return data_set
    from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415 - slow to import

    available = get_decoder(data_set.file_meta.TransferSyntaxUID).available_plugins
    name = data_set.file_meta.TransferSyntaxUID.name
    failure: Exception = ConfigurationError(f"no decoder for {name}: pip install 'bulkdl[pixels]'")
    for plugin in SAFE_PLUGINS:
        if plugin in available:
            try:
                data_set.decompress(decoding_plugin=plugin, generate_instance_uid=False)
            except Exception as error:  # noqa: BLE001 - the next decoder may accept the frames
                failure = error
            else:
                return data_set
    raise failure
