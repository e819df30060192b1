"""Check pixel data: that it is as long as the attributes of the image require, and that every frame can be decoded.

Source: PS3.3 §C.7.6.3 (Image Pixel module), PS3.5 §8 and §A.4 (encoding of pixel data).
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from bulkdl.dicom.attributes import (
    BITS_ALLOCATED,
    COLUMNS,
    DOSE_UNITS,
    IMAGE_ATTRIBUTES,
    PIXEL_DATA,
    PIXEL_DATA_KEYWORDS,
    ROWS,
    SAMPLES_PER_PIXEL,
    InstanceAttributes,
)
from bulkdl.dicom.part10 import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import Decoder

    from bulkdl.dicom.part10 import Element

_RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_MAPS_AND_VOLUMES = frozenset(  # images whose class name does not contain "Image" (PS3.4 §B.5)
    (
        "1.2.840.10008.5.1.4.1.1.6.2",  # Enhanced US Volume
        "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.81.1",  # Ophthalmic Thickness Map
        "1.2.840.10008.5.1.4.1.1.82.1",  # Corneal Topography Map
    )
)
_NATIVE = frozenset((IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE))
_JPIP = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (94, 204))  # the pixels are on a server
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))  # a fragment may hold many frames

# gdcm, pydicom's first choice, aborts the process on some corrupt frames (observed with python-gdcm 3.2.6: one in
# fifty, and every second one for JPEG-LS). These decoders, if installed for a transfer syntax, raise instead.
_SAFER_PLUGINS = ("pylibjpeg", "pyjpegls")

_OFFSET_BYTES = 4


def check_pixel_data(attributes: InstanceAttributes, syntax: str) -> list[str]:
    """Compare the length of the pixel data with the attributes of the image. Returns notes on harmless differences.

    Raises:
        InvalidInstance: the pixel data is missing, too short, or encoded against its transfer syntax.
    """
    pixel_data = attributes.pixel_data
    if pixel_data is None:
        _check_is_not_image(attributes, syntax)
        return []
    if syntax in _NATIVE or pixel_data.tag != PIXEL_DATA:
        return _check_native(attributes, pixel_data)
    return _check_encapsulated(attributes, pixel_data, syntax)


def decode_pixel_data(file: BinaryIO, attributes: InstanceAttributes, syntax: str) -> list[str]:
    """Decode every frame, one in memory at a time. Returns notes on what could not be decoded and why.

    Raises:
        InvalidInstance: a frame cannot be decoded.
        ConfigurationError: no decoder for the transfer syntax is installed.
    """
    pixel_data = attributes.pixel_data
    if pixel_data is None:
        return []
    if importlib.util.find_spec("numpy") is None:
        raise ConfigurationError("validating pixels needs numpy: pip install 'bulkdl[pixels]'")
    from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415
    from pydicom.uid import UID  # noqa: PLC0415

    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError:
        return [f"pixels not decoded: pydicom has no decoder for {UID(syntax).name}"]
    if not decoder.is_available:
        missing = "; ".join(decoder.missing_dependencies)
        raise ConfigurationError(f"no decoder for {UID(syntax).name}: pip install 'bulkdl[pixels]' (or {missing})")
    try:
        with suppressed_pydicom_warnings():
            _decode_frames(decoder, file, attributes, pixel_data, check_length=syntax not in _NATIVE)
    except Exception as error:  # decoders raise many kinds of exceptions
        if "does not support" in str(error):  # a limit of the decoder; the data may be valid
            return [f"pixels not decoded: {error_text(error)}"]
        raise InvalidInstance(f"pixel data cannot be decoded: {error_text(error)}") from error
    return []


def _decode_frames(
    decoder: Decoder, file: BinaryIO, attributes: InstanceAttributes, pixel_data: Element, *, check_length: bool
) -> None:
    from pydicom import dcmread  # noqa: PLC0415
    from pydicom.pixels.utils import as_pixel_options  # noqa: PLC0415

    file.seek(0)
    image = dcmread(file, stop_before_pixels=True, specific_tags=list(IMAGE_ATTRIBUTES))
    options = as_pixel_options(image, pixel_keyword=PIXEL_DATA_KEYWORDS[pixel_data.tag])
    plugin = next((name for name in _SAFER_PLUGINS if name in decoder.available_plugins), "")
    for frame, made in decoder.iter_buffer(attributes.open_at(pixel_data), raw=True, decoding_plugin=plugin, **options):
        if check_length:
            _check_frame_length(len(frame), made)


def _check_is_not_image(attributes: InstanceAttributes, syntax: str) -> None:
    sop_class_uid = attributes.sop_class_uid
    if sop_class_uid is None or syntax in _JPIP:
        return
    if sop_class_uid == _RT_DOSE:
        if ROWS in attributes or DOSE_UNITS not in attributes:  # a dose may only have curves, but has units
            raise InvalidInstance("a dose without pixel data")
    elif _is_image(sop_class_uid):
        raise InvalidInstance("an image without pixel data")


@lru_cache(maxsize=64)
def _is_image(sop_class_uid: str) -> bool:
    from pydicom.uid import UID  # noqa: PLC0415

    with suppressed_pydicom_warnings():
        return "Image Storage" in UID(sop_class_uid).name or sop_class_uid in _MAPS_AND_VOLUMES


def _check_native(attributes: InstanceAttributes, pixel_data: Element) -> list[str]:
    if pixel_data.items is not None:
        raise InvalidInstance("pixel data of undefined length in a native transfer syntax")
    samples = 2 if attributes.is_subsampled() else attributes.number(SAMPLES_PER_PIXEL)
    pixels = attributes.number(ROWS) * attributes.number(COLUMNS) * attributes.number_of_frames()
    needed = (pixels * samples * attributes.number(BITS_ALLOCATED) + 7) // 8  # single bits are packed across frames
    if pixel_data.length < needed:
        raise InvalidInstance(f"{pixel_data.length} bytes of pixel data where the image needs {needed}")
    if pixel_data.length > needed + needed % 2:
        return [f"{pixel_data.length} bytes of pixel data where the image needs {needed}"]
    return []


def _check_encapsulated(attributes: InstanceAttributes, pixel_data: Element, syntax: str) -> list[str]:
    if pixel_data.items is None:
        raise InvalidInstance("pixel data of defined length in an encapsulated transfer syntax")
    fragments = pixel_data.items - 1
    frames = attributes.number_of_frames()
    needed = min(frames, 1) if syntax.startswith(_VIDEO) else frames
    if fragments < needed:
        raise InvalidInstance(f"{max(fragments, 0)} fragments of pixel data for {frames} frames")
    table_bytes = attributes.offset_table_bytes(pixel_data)
    if table_bytes not in {0, frames * _OFFSET_BYTES}:
        return [f"a Basic Offset Table of {table_bytes} bytes for {frames} frames"]
    return []


def _check_frame_length(frame_bytes: int, made: dict[str, str | int]) -> None:
    samples = int(made["rows"]) * int(made["columns"]) * int(made["samples_per_pixel"])
    if frame_bytes < samples * int(made["bits_allocated"]) // 8:
        raise ValueError(f"a frame of {frame_bytes} bytes is too short for {samples} samples")
