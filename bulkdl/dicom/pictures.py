"""Make pictures of an instance: a PNG or JPEG of a frame, or a thumbnail, a small JPEG of its middle frame.

Grey values are transformed by the modality LUT and a window: the one that is asked for, else the first VOI window or
VOI LUT of the instance, else the range of values. gdcm may crash its process on a corrupt frame: it is the last decoder
that is tried for a picture, and not used for a thumbnail.

Source: PS3.3 §C.11.1 (Modality LUT), §C.11.2 (VOI LUT), §C.7.6.3 (Image Pixel module).
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
    from PIL import Image
    from pydicom.dataset import Dataset
    from pydicom.pixels.decoders.base import Decoder

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
_LARGEST_SIDE: Final = 4_096
_FASTEST: Final = 1  # of the levels of compression
_LUT_BYTES: Final = 2  # of samples whose values are few enough for a table of all of them
_SAMPLES_PER_PIXEL_SHOWN: Final = 4  # in each direction; the rest of a large image is skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOptions:
    """What is shown: a frame, counted from 0, or the middle one; at most `size` pixels wide and high.

    `centre` and `width` are a window in the units that the modality LUT gives. None is what the instance says. `form`
    is PNG or JPEG.
    """

    frame: int | None = None
    size: int | None = None
    centre: float | None = None
    width: float | None = None
    form: str = "PNG"


def thumbnail(path: Path, *, size: int = 128) -> bytes:
    """A JPEG of an instance, at most `size` pixels wide and high, and never larger than the image.

    Raises:
        InvalidInstance: there is no pixel data, it is too large, or it cannot be decoded safely.
        ConfigurationError: numpy or Pillow is not installed.
    """
    with _drawing(path, "thumbnails need") as file:
        return _draw(file, PictureOptions(size=size), "JPEG", is_safe_only=True)


def picture(path: Path, options: PictureOptions) -> bytes:
    """A PNG or JPEG of a frame: 8 bits of grey or of each of three colours.

    Raises:
        InvalidInstance: there is no pixel data or no such frame, it is too large, or it cannot be decoded.
        ConfigurationError: numpy or Pillow is not installed.
    """
    with _drawing(path, "pictures need") as file:
        return _draw(file, options, options.form, is_safe_only=False)


@contextmanager
def _drawing(path: Path, what: str) -> Iterator[BinaryIO]:
    """The open file of an instance. What fails in the block is raised as one of our own errors."""
    if importlib.util.find_spec("numpy") is None or importlib.util.find_spec("PIL") is None:
        raise ConfigurationError(f"{what} numpy and Pillow: pip install 'bulkdl[pixels]'")
    try:
        with opened(path) as file, suppressed_pydicom_warnings:
            yield file
    except (InvalidInstance, MemoryError):
        raise
    except Exception as error:  # pydicom and decoders raise many kinds of exceptions
        raise InvalidInstance(f"no picture can be made: {error_text(error)}") from error


def _draw(file: BinaryIO, options: PictureOptions, form: str, *, is_safe_only: bool) -> bytes:
    import numpy as np  # noqa: PLC0415 - slow to import, and an extra
    from PIL import Image  # noqa: PLC0415 - the same

    size = options.size or _LARGEST_SIDE
    with np.errstate(all="ignore"):
        frame, attributes, photometric = read_frame(file, options.frame, is_safe_only=is_safe_only)
        step = max(1, max(frame.shape[:2]) // (size * _SAMPLES_PER_PIXEL_SHOWN))
        shown = Image.fromarray(_in_bytes(frame[::step, ::step], attributes, photometric, options))
    shown.thumbnail((size, size))
    return in_form(shown, form)


def in_form(shown: Image.Image, form: str) -> bytes:
    """A picture as a PNG or a JPEG."""
    written = io.BytesIO()
    shown.save(written, form, **({"compress_level": _FASTEST} if form == "PNG" else {}))
    return written.getvalue()


def read_frame(file: BinaryIO, index: int | None, *, is_safe_only: bool) -> tuple[NDArray[Any], Dataset, str]:
    """The samples of a frame, or of the middle one; the attributes that say how to show them; what the samples mean.

    Raises:
        InvalidInstance: there is no pixel data or no such frame, it is too large, or no decoder is installed.
        Exception: whatever pydicom and the decoders raise.
    """
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
        raise InvalidInstance(f"a frame of {samples} samples is too large for a picture")
    frames = int(options.get("number_of_frames") or 1)
    if index is not None and index >= frames:
        raise InvalidInstance(f"there are {frames} frames only")
    try:
        decoder = get_decoder(UID(meta.transfer_syntax_uid or ""))
    except NotImplementedError:
        raise InvalidInstance(f"pydicom has no decoder for {UID(meta.transfer_syntax_uid or '').name}") from None
    options["pixel_vr"] = (pixel_data.vr or b"OW").decode("ascii")  # big endian: OW swaps pairs of bytes
    frame, made = decoder.as_array(
        walk.open_at(pixel_data),
        index=frames // 2 if index is None else index,
        decoding_plugin=_plugin_of(decoder, is_safe_only=is_safe_only),
        **options,
    )
    return frame, attributes, str(made["photometric_interpretation"])


def _plugin_of(decoder: Decoder, *, is_safe_only: bool) -> str:
    """The decoder to use; empty for samples that need none, and to let pydicom try all that are not among the safe."""
    if not decoder.UID.is_encapsulated:
        return ""
    safe = [name for name in SAFE_PLUGINS if name in decoder.available_plugins]
    if safe:
        return safe[0]
    if is_safe_only:
        raise InvalidInstance(f"no installed decoder for {decoder.UID.name} is safe to use here")
    if not decoder.is_available:
        raise InvalidInstance(f"no decoder for {decoder.UID.name} is installed: pip install 'bulkdl[pixels]'")
    return ""


def _in_bytes(frame: NDArray[Any], attributes: Dataset, photometric: str, options: PictureOptions) -> NDArray[np.uint8]:
    """The frame as 8-bit grey or RGB."""
    import numpy as np  # noqa: PLC0415 - an extra
    from pydicom.pixels.processing import apply_color_lut  # noqa: PLC0415 - needs numpy

    if photometric == "PALETTE COLOR":
        frame = apply_color_lut(frame, attributes)
        return _shifted(frame, frame.dtype.itemsize * 8)
    if frame.ndim > 2:  # noqa: PLR2004 - rows and columns
        return _shifted(frame, attributes.BitsStored)
    if frame.dtype.kind not in "iu" or frame.dtype.itemsize > _LUT_BYTES:
        return _grey(frame, attributes, photometric, options)
    least = int(frame.min())  # each value is transformed once, whatever the number of pixels that have it
    values = np.arange(least, int(frame.max()) + 1).astype(frame.dtype)
    table: NDArray[np.uint8] = _grey(values, attributes, photometric, options)
    return table[frame.astype(np.int32) - least]


def _grey(samples: NDArray[Any], attributes: Dataset, photometric: str, options: PictureOptions) -> NDArray[np.uint8]:
    """Samples as 8-bit grey."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi  # noqa: PLC0415 - needs numpy

    try:
        grey = apply_modality_lut(samples, attributes)
    except (OverflowError, ValueError, IndexError):  # values of the table that do not fit its bits; observed
        grey = samples
    if options.centre is None and "VOILUTSequence" in attributes:
        shown = _stretched(apply_voi(grey, attributes))
    else:
        shown = _windowed(grey, attributes, options)
    bright: NDArray[np.uint8] = ((1 - shown if photometric == "MONOCHROME1" else shown) * 255 + 0.5).astype("uint8")
    return bright


def _shifted(colours: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8] = (colours >> max(bits - 8, 0)).astype("uint8")
    return shown


def _windowed(grey: NDArray[Any], attributes: Dataset, options: PictureOptions) -> NDArray[np.float32]:
    """Grey values from 0 to 1, by a window (PS3.3 §C.11.2.1.2), or by their range if there is none."""
    import numpy as np  # noqa: PLC0415 - an extra

    centre, width = options.centre, options.width
    if centre is None:
        centre, width = first_number(attributes.get("WindowCenter")), first_number(attributes.get("WindowWidth"))
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


def first_number(value: object) -> float | None:
    """The first of the values of an attribute."""
    several = value if isinstance(value, list | tuple) or hasattr(value, "__iter__") else [value]
    one = next(iter(several), None)
    return None if one is None or one == "" else float(one)
