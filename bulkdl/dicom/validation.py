"""Is this instance sound DICOM, and is it the one that was asked for?

Three levels, each including the one before: `header`, `structure`, `pixels`. pydicom opens every file that passes; but
its reader takes truncated files without a word, so the walk of `part10` goes beside it, and the pixel data is held
against what the attributes of the image promise. What to do about a verdict is for `fetch` and `operations`.

What the walk cannot see: a file cut exactly between two elements that stand behind the pixel data, or, in an object
that is no image, between any two behind its UIDs. The byte count, compared elsewhere, tells those.

Source: PS3.3 §C.7.6.3 (Image Pixel module), PS3.5 §8 and §A.4 (how pixel data is written).
"""

from __future__ import annotations

import importlib.util
import io
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bulkdl.dicom.part10 import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    open_data_set,
    read_meta,
    uid_text,
)
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import ConfigurationError, InvalidInstance, InvalidUid, WrongObject
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, is_uid, parse_series_uid, parse_sop_uid
from bulkdl.model.settings import ValidationLevel
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    from bulkdl.dicom.part10 import Element, Meta, Walk
    from bulkdl.model.records import InstanceKey

_SOP_CLASS = 0x00080016
_SOP_INSTANCE = 0x00080018
_STUDY = 0x0020000D
_SERIES = 0x0020000E
_SAMPLES_PER_PIXEL = 0x00280002
_PHOTOMETRIC_INTERPRETATION = 0x00280004
_NUMBER_OF_FRAMES = 0x00280008
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_BITS_ALLOCATED = 0x00280100
_DOSE_UNITS = 0x30040002
_FLOAT_PIXEL_DATA = 0x7FE00008
_DOUBLE_PIXEL_DATA = 0x7FE00009
_PIXEL_DATA = 0x7FE00010

_KINDS_OF_PIXEL_DATA = {
    _PIXEL_DATA: "PixelData",
    _FLOAT_PIXEL_DATA: "FloatPixelData",
    _DOUBLE_PIXEL_DATA: "DoubleFloatPixelData",
}
_IMAGE_ATTRIBUTES = (
    *(_SAMPLES_PER_PIXEL, _PHOTOMETRIC_INTERPRETATION, 0x00280006, _NUMBER_OF_FRAMES, _ROWS, _COLUMNS),
    *(_BITS_ALLOCATED, 0x00280101, 0x00280103),  # with Planar Configuration, Bits Stored, Pixel Representation
    *(0x7FE00001, 0x7FE00002),  # Extended Offset Table and its lengths
)
_IDENTITY = frozenset((_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES))
_WANTED = frozenset(
    (
        *_IDENTITY,
        *(_SAMPLES_PER_PIXEL, _PHOTOMETRIC_INTERPRETATION, _NUMBER_OF_FRAMES, _ROWS, _COLUMNS, _BITS_ALLOCATED),
        *(_DOSE_UNITS, *_KINDS_OF_PIXEL_DATA),
    )
)
_NAMES = {
    _SAMPLES_PER_PIXEL: "Samples per Pixel",
    _ROWS: "Rows",
    _COLUMNS: "Columns",
    _BITS_ALLOCATED: "Bits Allocated",
}

_RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_MAPS_AND_VOLUMES = frozenset(  # images whose class is not called one (PS3.4 §B.5)
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
_ELSEWHERE = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (94, 204))  # JPIP: a server holds the pixels
_NEVER_IN_FILES = frozenset(  # registered, but no way to write a data set that pydicom reads
    (
        *("1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"),  # JPIP, deflated
        *("1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2"),  # MIME, XML
        *(f"1.2.840.10008.1.2.7.{number}" for number in (1, 2, 3)),  # SMPTE ST 2110
        "1.2.840.10008.1.20",  # Papyrus 3
    )
)
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))  # a fragment may hold many frames

# gdcm, pydicom's first choice, aborts the process on some corrupt frames (observed with python-gdcm 3.2.6: one in
# fifty, for JPEG-LS every second one); these decoders, where installed for a transfer syntax, raise instead.
_SAFER_PLUGINS = ("pylibjpeg", "pyjpegls")

_LONGEST_VALUE = 256
_BUFFER_BYTES = 1 << 15
_DEFER_BYTES = 1 << 12
_OFFSET_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """A sound instance. `notes` says what is odd about it and was let pass, one sentence each."""

    sop_uid: SopInstanceUid
    series_uid: SeriesUid
    study_uid: StudyUid | None
    sop_class_uid: str | None
    transfer_syntax_uid: str
    notes: tuple[str, ...] = ()


def validate(
    source: bytes | memoryview | Path, *, level: ValidationLevel, expected: InstanceKey | None = None
) -> ValidationResult:
    """Look at one instance, given as its bytes or as a file, which is never read into memory whole.

    A deflated data set is the exception: it is inflated in memory. At level `pixels`, where gdcm decodes, a corrupt
    frame may end the process; whoever must live on calls it in another one.

    Raises:
        InvalidInstance: it is no sound DICOM; the message says where it stops being that.
        WrongObject: it is not the `expected` one.
        ConfigurationError: at level `pixels`, no decoder for its transfer syntax is installed.
    """
    load_pydicom()
    try:
        if isinstance(source, Path):
            with source.open("rb", buffering=_BUFFER_BYTES) as file:
                return _validate(file, level, expected)
        return _validate(io.BytesIO(source), level, expected)
    except OSError as error:
        raise InvalidInstance(f"not readable: {error.strerror or error}") from error


_LOADING = threading.Lock()  # two threads that import a package with circles in it may both fail


def load_pydicom() -> None:
    """Import pydicom now, not when the first instance is there: it takes a tenth of a second or more. Blocking."""
    with _LOADING:
        import pydicom.filereader  # noqa: PLC0415, F401


def _validate(file: BinaryIO, level: ValidationLevel, expected: InstanceKey | None) -> ValidationResult:
    size = file.seek(0, io.SEEK_END)
    meta = read_meta(file, size)
    syntax = _known(meta.transfer_syntax_uid)
    facts = _Facts(open_data_set(file, size, meta), whole=level is not ValidationLevel.HEADER)
    sop_uid, series_uid = facts.identity(expected)
    notes = facts.notes(meta)
    if level is not ValidationLevel.HEADER:
        notes += _look_at_pixel_data(facts, syntax)
    _open_with_pydicom(file, sop_uid)
    if level is ValidationLevel.PIXELS and facts.pixel_data is not None:
        notes += _decode(file, facts, facts.pixel_data, syntax)
    return ValidationResult(
        sop_uid=sop_uid,
        series_uid=series_uid,
        study_uid=facts.study_uid,
        sop_class_uid=facts.sop_class_uid,
        transfer_syntax_uid=syntax,
        notes=tuple(notes),
    )


class _Facts:
    """What the walk over a data set found: its identity and the attributes of its image."""

    def __init__(self, walk: Walk, *, whole: bool) -> None:
        self._walk = walk
        self._found: dict[int, Element] = {}
        declared = walk.is_implicit
        for element in walk.elements(_WANTED if whole else _IDENTITY, into_sequences=whole):
            self._found[element.tag] = element
            if not whole and _IDENTITY.issubset(self._found):
                break
        self._otherwise_written = walk.is_implicit != declared
        self.sop_class_uid = self._uid(_SOP_CLASS)
        study_uid = self._uid(_STUDY)
        self.study_uid = StudyUid(study_uid) if study_uid is not None and is_uid(study_uid) else None
        self.pixel_data = next((self._found[tag] for tag in _KINDS_OF_PIXEL_DATA if tag in self._found), None)

    def has(self, tag: int) -> bool:
        return tag in self._found

    def identity(self, expected: InstanceKey | None) -> tuple[SopInstanceUid, SeriesUid]:
        sop_uid, series_uid = self._uid(_SOP_INSTANCE), self._uid(_SERIES)
        if sop_uid is None:
            raise InvalidInstance("no SOP Instance UID")
        if series_uid is None:
            raise InvalidInstance("no Series Instance UID")
        try:
            found = parse_sop_uid(sop_uid), parse_series_uid(series_uid)
        except InvalidUid as error:
            raise InvalidInstance(f"a UID that is none: {error}") from error
        if expected is not None and sop_uid != expected.sop_uid:
            raise WrongObject(f"SOP Instance UID {sop_uid}, asked for was {expected.sop_uid}")
        if expected is not None and series_uid != expected.series_uid:
            raise WrongObject(f"Series Instance UID {series_uid}, asked for was {expected.series_uid}")
        return found

    def notes(self, meta: Meta) -> list[str]:
        notes = []
        if meta.media_sop_uid != self._uid(_SOP_INSTANCE):
            notes.append(f"Media Storage SOP Instance UID is {meta.media_sop_uid or 'absent'}")
        if self.sop_class_uid is None:
            notes.append("no SOP Class UID")
        if self.study_uid is None:
            notes.append("no valid Study Instance UID")
        if self._otherwise_written:
            notes.append(f"{'implicit' if self._walk.is_implicit else 'explicit'} VR, against its transfer syntax")
        return notes

    def number(self, tag: int) -> int:
        """The value of an unsigned attribute of the image; an image cannot be without."""
        raw = self._raw(tag)
        if len(raw) not in {2, 4}:  # US; some writers take UL
            raise InvalidInstance(f"pixel data without {_NAMES[tag]}")
        return int.from_bytes(raw, "little" if self._walk.little else "big")

    def number_of_frames(self) -> int:
        text = self._raw(_NUMBER_OF_FRAMES).strip(b" \0")
        if not text:
            return 1
        if not text.isdigit():
            raise InvalidInstance(f"Number of Frames is no number: {text[:16]!r}")
        return int(text)

    def is_subsampled(self) -> bool:
        return self._raw(_PHOTOMETRIC_INTERPRETATION).strip(b" \0") in {b"YBR_FULL_422", b"YBR_PARTIAL_422"}

    def offset_table_bytes(self, pixel_data: Element) -> int:
        """The length of the Basic Offset Table, the first item of encapsulated pixel data."""
        raw = self._walk.peek(pixel_data.offset + 4, 4)
        return int.from_bytes(raw, "little")

    def open_at(self, element: Element) -> BinaryIO:
        """The file that was walked, inflated if it was deflated, at the value of `element`."""
        return self._walk.open_at(element)

    def _uid(self, tag: int) -> str | None:
        return uid_text(self._raw(tag)) or None

    def _raw(self, tag: int) -> bytes:
        element = self._found.get(tag)
        return self._walk.peek(element.offset, min(element.length, _LONGEST_VALUE)) if element is not None else b""


def _known(transfer_syntax_uid: str | None) -> str:
    if transfer_syntax_uid is None:
        raise InvalidInstance("no Transfer Syntax UID")
    if not _is_transfer_syntax(transfer_syntax_uid):
        raise InvalidInstance(f"Transfer Syntax UID {transfer_syntax_uid!r} is not known")
    return transfer_syntax_uid


@lru_cache(maxsize=64)
def _is_transfer_syntax(uid: str) -> bool:
    from pydicom.uid import UID  # noqa: PLC0415

    with suppressed_pydicom_warnings():
        return UID(uid).type == "Transfer Syntax" and uid not in _NEVER_IN_FILES


@lru_cache(maxsize=64)
def _is_image(sop_class_uid: str) -> bool:
    from pydicom.uid import UID  # noqa: PLC0415

    with suppressed_pydicom_warnings():
        return "Image Storage" in UID(sop_class_uid).name or sop_class_uid in _MAPS_AND_VOLUMES


# --- structure --------------------------------------------------------------------------------------------------------


def _look_at_pixel_data(facts: _Facts, syntax: str) -> list[str]:
    """Hold the pixel data against what the attributes promise; returns notes."""
    pixel_data = facts.pixel_data
    if pixel_data is None:
        _must_not_be_an_image(facts, syntax)
        return []
    if syntax in _NATIVE or pixel_data.tag != _PIXEL_DATA:
        return _look_at_native(facts, pixel_data)
    return _look_at_encapsulated(facts, pixel_data, syntax)


def _must_not_be_an_image(facts: _Facts, syntax: str) -> None:
    if facts.sop_class_uid is None or syntax in _ELSEWHERE:
        return
    if facts.sop_class_uid == _RT_DOSE:
        if facts.has(_ROWS) or not facts.has(_DOSE_UNITS):  # a dose may be curves alone, but has units
            raise InvalidInstance("a dose without pixel data")
    elif _is_image(facts.sop_class_uid):
        raise InvalidInstance("an image without pixel data")


def _look_at_native(facts: _Facts, pixel_data: Element) -> list[str]:
    if pixel_data.items is not None:
        raise InvalidInstance("pixel data of undefined length in a native transfer syntax")
    samples = 2 if facts.is_subsampled() else facts.number(_SAMPLES_PER_PIXEL)
    pixels = facts.number(_ROWS) * facts.number(_COLUMNS) * facts.number_of_frames()
    promised = (pixels * samples * facts.number(_BITS_ALLOCATED) + 7) // 8  # single bits are packed across frames
    if pixel_data.length < promised:
        raise InvalidInstance(f"{pixel_data.length} bytes of pixel data where the image needs {promised}")
    if pixel_data.length > promised + promised % 2:
        return [f"{pixel_data.length} bytes of pixel data where the image needs {promised}"]
    return []


def _look_at_encapsulated(facts: _Facts, pixel_data: Element, syntax: str) -> list[str]:
    if pixel_data.items is None:
        raise InvalidInstance("pixel data of defined length in an encapsulated transfer syntax")
    fragments = pixel_data.items - 1
    frames = facts.number_of_frames()
    wanted = min(frames, 1) if syntax.startswith(_VIDEO) else frames
    if fragments < wanted:
        raise InvalidInstance(f"{max(fragments, 0)} fragments of pixel data for {frames} frames")
    table_bytes = facts.offset_table_bytes(pixel_data)
    if table_bytes not in {0, frames * _OFFSET_BYTES}:
        return [f"a Basic Offset Table of {table_bytes} bytes for {frames} frames"]
    return []


# --- pydicom ----------------------------------------------------------------------------------------------------------


def _open_with_pydicom(file: BinaryIO, sop_uid: SopInstanceUid) -> None:
    from pydicom import dcmread  # noqa: PLC0415

    file.seek(0)
    try:
        with suppressed_pydicom_warnings():
            read = dcmread(file, defer_size=_DEFER_BYTES, specific_tags=[_SOP_INSTANCE])
            found = uid_text(read.get_item(_SOP_INSTANCE).value or b"")
    except Exception as error:  # pydicom lets anything out, RecursionError and struct.error included
        raise InvalidInstance(f"pydicom cannot open it: {error_text(error)}") from error
    if found != sop_uid:
        raise InvalidInstance("pydicom reads another SOP Instance UID")


def _decode(file: BinaryIO, facts: _Facts, pixel_data: Element, syntax: str) -> list[str]:
    """Decode every frame, one in memory at a time; returns notes."""
    if importlib.util.find_spec("numpy") is None:
        raise ConfigurationError("validating pixels needs numpy: pip install 'bulkdl[pixels]'")
    from pydicom import dcmread  # noqa: PLC0415
    from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415
    from pydicom.pixels.utils import as_pixel_options  # noqa: PLC0415
    from pydicom.uid import UID  # noqa: PLC0415

    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError:
        return [f"pixels not decoded: pydicom has no decoder for {UID(syntax).name}"]
    if not decoder.is_available:
        missing = "; ".join(decoder.missing_dependencies)
        raise ConfigurationError(f"no decoder for {UID(syntax).name}: pip install 'bulkdl[pixels]' (or {missing})")
    file.seek(0)
    try:
        with suppressed_pydicom_warnings():
            attributes = dcmread(file, stop_before_pixels=True, specific_tags=list(_IMAGE_ATTRIBUTES))
            options = as_pixel_options(attributes, pixel_keyword=_KINDS_OF_PIXEL_DATA[pixel_data.tag])
            plugin = next((name for name in _SAFER_PLUGINS if name in decoder.available_plugins), "")
            frames = decoder.iter_buffer(facts.open_at(pixel_data), raw=True, decoding_plugin=plugin, **options)
            for frame, made in frames:
                if syntax not in _NATIVE:  # the length of native frames has been looked at
                    _must_be_whole(len(frame), made)
    except Exception as error:  # decoders raise what they like
        if "does not support" in str(error):  # how pydicom tells of what a plugin leaves out; the data may be sound
            return [f"pixels not decoded: {error_text(error)}"]
        raise InvalidInstance(f"pixel data cannot be decoded: {error_text(error)}") from error
    return []


def _must_be_whole(frame_bytes: int, made: dict[str, str | int]) -> None:
    samples = int(made["rows"]) * int(made["columns"]) * int(made["samples_per_pixel"])
    if frame_bytes < samples * int(made["bits_allocated"]) // 8:
        raise ValueError(f"a frame of {frame_bytes} bytes is too short for {samples} samples")
