"""Make a thumbnail of an instance: a small JPEG of its middle frame.

Grey values are transformed by the modality LUT and the first VOI window or VOI LUT; without one, the range of values is
shown. gdcm is not used, because it may crash the server on a corrupt frame. There is no thumbnail for a transfer syntax
that no other decoder supports.

Source: PS3.3 §C.11.1 (Modality LUT), §C.11.2 (VOI LUT), §C.7.6.3 (Image Pixel module).
"""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from bulkdl.dicom.attributes import FRAME_ATTRIBUTES, PIXEL_DATA_KEYWORDS, Tag
from bulkdl.dicom.part10 import open_data_set, opened, read_meta
from bulkdl.dicom.pixels import SAFE_PLUGINS
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_PIXEL_DATA: Final = frozenset(PIXEL_DATA_KEYWORDS)
_ATTRIBUTES: Final = [
    *(*FRAME_ATTRIBUTES, Tag.NUMBER_OF_FRAMES, 0x7FE00001, 0x7FE00002),  # with the Extended Offset Table
    *(0x00281050, 0x00281051, 0x00281056, 0x00283010),  # VOI window, its function, VOI LUT
    *(0x00281052, 0x00281053, 0x00283000),  # rescale, modality LUT
    *range(0x00281101, 0x00281104),  # descriptors of the palette
    *range(0x00281201, 0x00281204),  # its data
    *range(0x00281221, 0x00281224),  # its segmented data
]
_LARGEST_FRAME_BYTES: Final = 1 << 27
_SAMPLES_PER_PIXEL_SHOWN: Final = 4  # in each direction; the rest of a large image is skipped


def thumbnail(path: Path, *, size: int = 128) -> bytes:
    """A JPEG of an instance, at most `size` pixels wide and high, and never larger than the image.

    Raises:
        InvalidInstance: there is no pixel data, it is too large, or it cannot be decoded safely.
        ConfigurationError: numpy or Pillow is not installed.
    """
    if importlib.util.find_spec("numpy") is None or importlib.util.find_spec("PIL") is None:
        raise ConfigurationError("thumbnails need numpy and Pillow: pip install 'bulkdl[pixels]'")
    try:
        with opened(path) as file, suppressed_pydicom_warnings:
            return _draw(file, size)
    except InvalidInstance:
        raise
    except Exception as error:  # pydicom and decoders raise many kinds of exceptions
        raise InvalidInstance(f"no thumbnail can be made: {error_text(error)}") from error


def _draw(file: BinaryIO, size: int) -> bytes:
    import numpy as np  # noqa: PLC0415 - slow to import, and an extra
    from PIL import Image  # noqa: PLC0415 - the same

    with np.errstate(all="ignore"):
        frame, attributes, photometric = _middle_frame(file)
        step = max(1, max(frame.shape[:2]) // (size * _SAMPLES_PER_PIXEL_SHOWN))
        picture = Image.fromarray(_in_bytes(frame[::step, ::step], attributes, photometric))
    picture.thumbnail((size, size))
    written = io.BytesIO()
    picture.save(written, "JPEG")
    return written.getvalue()


def _middle_frame(file: BinaryIO) -> tuple[NDArray[Any], Dataset, str]:
    """The samples of the middle frame, the attributes that define how to show them, and what the samples mean."""
    from pydicom import dcmread  # noqa: PLC0415 - slow to import, and rarely needed
    from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415
    from pydicom.pixels.utils import as_pixel_options  # noqa: PLC0415
    from pydicom.uid import UID  # noqa: PLC0415

    meta = read_meta(file)
    walk = open_data_set(file, meta)
    pixel_data = next(walk.elements(_PIXEL_DATA), None)
    if pixel_data is None:
        raise InvalidInstance("no pixel data")
    file.seek(0)
    attributes = dcmread(file, stop_before_pixels=True, specific_tags=_ATTRIBUTES)
    options = as_pixel_options(attributes, pixel_keyword=PIXEL_DATA_KEYWORDS[pixel_data.tag])
    samples = options["rows"] * options["columns"] * options["samples_per_pixel"]
    if samples * options["bits_allocated"] > _LARGEST_FRAME_BYTES * 8:
        raise InvalidInstance(f"a frame of {samples} samples is too large for a thumbnail")
    decoder = get_decoder(UID(meta.transfer_syntax_uid or ""))
    safe = [name for name in SAFE_PLUGINS if name in decoder.available_plugins]
    if decoder.UID.is_encapsulated and not safe:
        raise InvalidInstance(f"no installed decoder for {decoder.UID.name} is safe to use here")
    frame, made = decoder.as_array(
        walk.open_at(pixel_data),
        index=int(options.get("number_of_frames") or 1) // 2,
        decoding_plugin=safe[0] if decoder.UID.is_encapsulated else "",
        **options,
    )
    return frame, attributes, str(made["photometric_interpretation"])


def _in_bytes(frame: NDArray[Any], attributes: Dataset, photometric: str) -> NDArray[np.uint8]:
    """The frame as 8-bit grey or RGB."""
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi  # noqa: PLC0415 - needs numpy

    if photometric == "PALETTE COLOR":
        frame = apply_color_lut(frame, attributes)
        return _shifted(frame, frame.dtype.itemsize * 8)
    if frame.ndim > 2:  # noqa: PLR2004 - rows and columns
        return _shifted(frame, attributes.BitsStored)
    try:
        grey = apply_modality_lut(frame, attributes)
    except (OverflowError, ValueError, IndexError):  # values of the table that do not fit its bits; observed
        grey = frame
    grey = _stretched(apply_voi(grey, attributes)) if "VOILUTSequence" in attributes else _windowed(grey, attributes)
    shown: NDArray[np.uint8] = ((1 - grey if photometric == "MONOCHROME1" else grey) * 255 + 0.5).astype("uint8")
    return shown


def _shifted(colours: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8] = (colours >> max(bits - 8, 0)).astype("uint8")
    return shown


def _windowed(grey: NDArray[Any], attributes: Dataset) -> NDArray[np.float32]:
    """Grey values from 0 to 1, by the first window (PS3.3 §C.11.2.1.2), or by their range if there is none."""
    import numpy as np  # noqa: PLC0415 - an extra

    centre, width = _first(attributes.get("WindowCenter")), _first(attributes.get("WindowWidth"))
    function = str(attributes.get("VOILUTFunction") or "LINEAR")
    if centre is None or width is None or width < 1:
        return _stretched(grey)
    values = _finite(grey)
    if function == "SIGMOID":
        shown = 1 / (1 + np.exp(-4 * (values - centre) / width))
    elif function == "LINEAR_EXACT":
        shown = (values - centre) / width + 0.5
    else:
        shown = (values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5
    clipped: NDArray[np.float32] = np.clip(shown, 0, 1)
    return clipped


def _stretched(grey: NDArray[Any]) -> NDArray[np.float32]:
    """Grey values from 0 for the smallest to 1 for the largest; an image of one value is black."""
    values = _finite(grey)
    least, most = values.min(), values.max()
    scaled: NDArray[np.float32] = (values - least) / ((most - least) or 1)
    return scaled


def _finite(values: NDArray[Any]) -> NDArray[np.float32]:
    import numpy as np  # noqa: PLC0415 - an extra

    return np.nan_to_num(values.astype(np.float32), nan=0, posinf=0, neginf=0)


def _first(value: object) -> float | None:
    """The first of the values of an attribute."""
    several = value if isinstance(value, list | tuple) or hasattr(value, "__iter__") else [value]
    one = next(iter(several), None)
    return None if one is None or one == "" else float(one)
