"""Check pixel data: that it is as long as the attributes of the image require, and that every frame can be decoded.

Source: PS3.3 §C.7.6.3 (Image Pixel module), PS3.5 §8 and §A.4 (encoding of pixel data).
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

from bulkdl.dicom.attributes import FRAME_ATTRIBUTES, InstanceAttributes, Tag
from bulkdl.dicom.frames import END_OF_IMAGE, JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS, Frames, shape_of_codestream
from bulkdl.dicom.opening import read_with_pydicom
from bulkdl.dicom.part10 import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, JPIP_DEFLATED
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.model.outcomes import NOT_DECODED
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
_JPIP = frozenset(("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.204", *JPIP_DEFLATED))  # the pixels are on a server

# gdcm, pydicom's first choice, aborts the process on some corrupt frames (observed with python-gdcm 3.2.6: one in
# fifty, and every second one for JPEG-LS), and conceals errors of others. These decoders raise instead. Another one is
# asked where they fail, because they also refuse frames that are valid (observed: CharLS 2 on WG04's JLSL/MR1).
SAFE_PLUGINS = ("pylibjpeg", "pyjpegls", "pillow", "pydicom")
_MOST_BITS = 64
_PHOTOMETRIC_INTERPRETATIONS = frozenset(  # that pydicom 3.0 knows
    (
        *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK"),
        *("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"),
    )
)


def check_pixel_data(attributes: InstanceAttributes, syntax: str) -> list[str]:
    """Compare the length of pixel data with the image; notes on harmless differences. InvalidInstance: it is short."""
    pixel_data = attributes.pixel_data
    if pixel_data is None:
        if attributes.sop_class_uid is not None and syntax not in _JPIP:
            _check_is_not_image(attributes, attributes.sop_class_uid)
        return []
    is_known = syntax in _NATIVE or is_registered(syntax)
    if pixel_data.items is None and not is_known:
        return _check_native(attributes, pixel_data, is_native=False)
    if syntax in _NATIVE or pixel_data.tag != Tag.PIXEL_DATA:
        return _check_native(attributes, pixel_data)
    if pixel_data.items is None:
        raise InvalidInstance("pixel data of defined length in an encapsulated transfer syntax")
    frames = Frames(attributes, pixel_data, syntax)
    frames.check_marks()
    return frames.notes


def decode_pixel_data(file: BinaryIO, attributes: InstanceAttributes, syntax: str) -> list[str]:
    """Decode every frame, one in memory at a time. Returns notes on what could not be decoded and why.

    Native pixel data needs no decoder: `check_pixel_data` has compared its length.

    Raises:
        InvalidInstance: a frame cannot be decoded, or a required attribute of the image is missing.
        ConfigurationError: no decoder for the transfer syntax is installed.
    """
    pixel_data = attributes.pixel_data
    if pixel_data is None:
        return [f"{NOT_DECODED}: the pixels are on a server (JPIP)"] if syntax in _JPIP else []
    if pixel_data.tag == Tag.PIXEL_DATA:
        attributes.number(Tag.BITS_STORED)
        attributes.number(Tag.PIXEL_REPRESENTATION)
        if not attributes.photometric_interpretation():
            raise InvalidInstance("pixel data without Photometric Interpretation")
    if syntax in _NATIVE or pixel_data.tag != Tag.PIXEL_DATA:
        return []
    if pixel_data.items is None:
        return [f"{NOT_DECODED}: the transfer syntax {syntax} is unknown"]
    if importlib.util.find_spec("numpy") is None:
        raise ConfigurationError("validating pixels needs numpy: pip install 'bulkdl[pixels]'")
    return _decode_frames(file, attributes, pixel_data, syntax)


def _decode_frames(file: BinaryIO, attributes: InstanceAttributes, pixel_data: Element, syntax: str) -> list[str]:
    from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415
    from pydicom.uid import UID  # noqa: PLC0415

    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError:
        return [f"{NOT_DECODED}: pydicom has no decoder for {UID(syntax).name}"]
    if not decoder.is_available:
        missing = "; ".join(decoder.missing_dependencies)
        raise ConfigurationError(f"no decoder for {UID(syntax).name}: pip install 'bulkdl[pixels]' (or {missing})")
    frames = Frames(attributes, pixel_data, syntax)
    if not frames:
        return [f"{NOT_DECODED}: the frames of {UID(syntax).name} cannot be separated"]
    limit = _limit_of_decoders(attributes, syntax)
    decoding = _FrameDecoder(decoder, _frame_options(file, attributes, syntax), is_safe_only=limit is not None)
    rows, columns = attributes.number(Tag.ROWS), attributes.number(Tag.COLUMNS)
    for number, frame in enumerate(frames, start=1):
        if syntax == JPEG_BASELINE and END_OF_IMAGE not in frame:
            raise InvalidInstance(f"frame {number} has no end marker, so a part of it is missing")
        if (shape := shape_of_codestream(frame)) is not None and shape[0] * shape[1] > rows * columns:
            raise InvalidInstance(f"frame {number} has {shape[0]} by {shape[1]} pixels, expected {rows} by {columns}")
        error = decoding.decode(frame)
        if error is not None and limit is not None:
            return [f"{NOT_DECODED}: no installed decoder supports {limit}"]
        if error is not None:
            raise InvalidInstance(f"frame {number} cannot be decoded: {error}")
    return decoding.notes


def _frame_options(file: BinaryIO, attributes: InstanceAttributes, syntax: str) -> dict[str, Any]:
    from pydicom.pixels.utils import as_pixel_options  # noqa: PLC0415

    with suppressed_pydicom_warnings:
        tags = list(FRAME_ATTRIBUTES)
        image = read_with_pydicom(file, attributes, syntax, stop_before_pixels=True, specific_tags=tags)
        return as_pixel_options(image, pixel_keyword="PixelData")


class _FrameDecoder:
    """Decodes single frames, by the next plugin where one fails."""

    def __init__(self, decoder: Decoder, options: dict[str, Any], *, is_safe_only: bool) -> None:
        self._decoder = decoder
        self._options = options
        available = decoder.available_plugins
        safe = [name for name in SAFE_PLUGINS if name in available]
        self._plugins = safe + [name for name in available if name not in safe and not is_safe_only]
        self.notes: list[str] = []

    def decode(self, frame: bytes) -> str | None:
        """Why no plugin decodes the frame; None if one does."""
        from pydicom.encaps import encapsulate  # noqa: PLC0415

        errors = []
        source = encapsulate([frame], has_bot=False)
        for plugin in self._plugins:
            try:
                with suppressed_pydicom_warnings:
                    ((decoded, made),) = self._decoder.iter_buffer(
                        source, raw=True, decoding_plugin=plugin, **self._options
                    )
            except MemoryError:  # it says nothing about the file
                raise
            except Exception as error:  # noqa: BLE001 - decoders raise many kinds of exceptions
                # The message of the plugin, without pydicom's around it and without addresses in memory.
                text = error_text(error).rpartition(f"{plugin}: ")[2]
                text = "no result" if text.startswith("'NoneType'") else re.sub(r" ?<[^<>]* at 0x[0-9a-f]+>", "", text)
                errors.append(f"{plugin} says: {text}")
                continue
            if errors and not self.notes:
                self.notes.append(f"decoded by {plugin} only; {'; '.join(errors)}")
            samples = int(made["rows"]) * int(made["columns"]) * int(made["samples_per_pixel"])
            is_whole = len(decoded) >= samples * int(made["bits_allocated"]) // 8
            return None if is_whole else f"a frame of {len(decoded)} bytes is too short for {samples} samples"
        return "; ".join(errors)


def _limit_of_decoders(attributes: InstanceAttributes, syntax: str) -> str | None:
    """What of the image the decoders of pydicom 3.0 may not support, although it is valid; None if they support it."""
    bits, stored = attributes.number(Tag.BITS_ALLOCATED), attributes.number(Tag.BITS_STORED)
    samples = attributes.number(Tag.SAMPLES_PER_PIXEL)
    if samples not in {1, 3}:
        return f"{samples} samples per pixel"
    if bits % 8 or bits > _MOST_BITS:
        return f"{bits} bits allocated"
    if syntax == JPEG_EXTENDED and stored != 8:  # noqa: PLR2004 - the other precision is 12
        return f"JPEG Extended with {stored} bits"
    if syntax in JPEG_LS and (stored in {6, 7} or (stored < 8 and attributes.number(Tag.PIXEL_REPRESENTATION) == 1)):  # noqa: PLR2004
        return f"JPEG-LS with {stored} bits"
    if attributes.photometric_interpretation() not in _PHOTOMETRIC_INTERPRETATIONS:
        return f"the photometric interpretation {attributes.photometric_interpretation()!r}"
    return None


def _check_is_not_image(attributes: InstanceAttributes, sop_class_uid: str) -> None:
    if sop_class_uid == _RT_DOSE:
        if Tag.ROWS in attributes or Tag.DOSE_UNITS not in attributes:  # a dose may only have curves, but has units
            raise InvalidInstance("a dose without pixel data")
    elif _is_image(sop_class_uid):
        raise InvalidInstance("an image without pixel data")


@lru_cache(maxsize=64)
def _is_image(sop_class_uid: str) -> bool:
    from pydicom.uid import UID  # noqa: PLC0415

    with suppressed_pydicom_warnings:
        return "Image Storage" in UID(sop_class_uid).name or sop_class_uid in _MAPS_AND_VOLUMES


@lru_cache(maxsize=64)
def kind_of_uid(uid: str) -> str:
    """What the UID names in pydicom's table of the standard, such as a "SOP Class"; empty if the table lacks it."""
    from pydicom._uid_dict import UID_dictionary  # noqa: PLC0415 - the table has no public name

    return UID_dictionary.get(uid, ("", ""))[1]


def is_registered(syntax: str) -> bool:
    """Whether the table has the transfer syntax."""
    return kind_of_uid(syntax) == "Transfer Syntax"


def _check_native(attributes: InstanceAttributes, pixel_data: Element, *, is_native: bool = True) -> list[str]:
    """Compare lengths. If the encoding of the pixel data is unknown (not `is_native`), differences are notes."""
    if pixel_data.items is not None:
        raise InvalidInstance("pixel data of undefined length in a native transfer syntax")
    is_subsampled = attributes.photometric_interpretation() in {"YBR_FULL_422", "YBR_PARTIAL_422"}
    samples = 2 if is_subsampled else attributes.number(Tag.SAMPLES_PER_PIXEL)
    pixels = attributes.number(Tag.ROWS) * attributes.number(Tag.COLUMNS) * attributes.number_of_frames()
    needed = (pixels * samples * attributes.number(Tag.BITS_ALLOCATED) + 7) // 8  # single bits are packed across frames
    if pixel_data.length < needed and is_native:
        raise InvalidInstance(f"{pixel_data.length} bytes of pixel data where the image needs {needed}")
    if not needed <= pixel_data.length <= needed + needed % 2:
        return [f"{pixel_data.length} bytes of pixel data where the image needs {needed}"]
    return []
