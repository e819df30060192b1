"""Chosen attributes of DICOM files as text, by their keywords (PS3.6).

Values of one attribute are joined by a backslash, as in a file. A sequence is the number of its items, and what is not
text or numbers the number of its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkdl.dicom.header import without_escapes
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import ConfigurationError
from bulkdl.model.text import did_you_mean, error_text, one_line, shortened

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement

DEFAULT_KEYWORDS: Final = (
    *("SOPClassUID", "InstanceNumber", "ImageType", "AcquisitionDate", "AcquisitionTime", "Manufacturer"),
    *("ManufacturerModelName", "SoftwareVersions", "Rows", "Columns", "NumberOfFrames", "BitsStored"),
    *("PhotometricInterpretation", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient"),
    *("ImageOrientationPatient", "FrameOfReferenceUID", "RescaleSlope", "RescaleIntercept", "KVP"),
    *("ConvolutionKernel", "RepetitionTime", "EchoTime", "MagneticFieldStrength", "PatientPosition"),
)
"""What tells how images were made, and how they fit together."""

_DEFER_BYTES: Final = 1 << 16
_LONGEST: Final = 4_096


def checked_keywords(names: Iterable[str]) -> tuple[str, ...]:
    """The keywords that `names` are, each once; several may stand in one name, with commas between them.

    Raises ConfigurationError: one is not a keyword of PS3.6.
    """
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415 - slow to import

    found = [word for name in names for each in name.split(",") if (word := each.strip())]
    for word in found:
        if tag_for_keyword(word) is None:
            raise ConfigurationError(f"{word!r} is not a keyword of DICOM{_like(word)}")
    return tuple(dict.fromkeys(found))


def _like(word: str) -> str:
    from pydicom._dicom_dict import DicomDictionary  # noqa: PLC0415 - the same

    keywords = (entry[4] for entry in DicomDictionary.values())
    return did_you_mean(word, [keyword for keyword in keywords if keyword], otherwise=", for example PatientID")


def read_values(question: tuple[tuple[str, ...], tuple[str, ...]]) -> list[dict[str, str] | str]:
    """The values of the files at these absolute paths, by keyword, in order; of a file that cannot be read, why.

    What a file does not have, or has no value of, is left out.
    """
    paths, keywords = question
    return [_values_of(Path(path), keywords) for path in paths]


def _values_of(path: Path, keywords: tuple[str, ...]) -> dict[str, str] | str:
    from pydicom import dcmread  # noqa: PLC0415 - slow to import

    try:
        with suppressed_pydicom_warnings:
            tags: list[Any] = list(keywords)
            data_set = dcmread(path, stop_before_pixels=True, specific_tags=tags, defer_size=_DEFER_BYTES)
            elements = {keyword: data_set[keyword] for keyword in keywords if keyword in data_set}
            texts = {keyword: _text(element) for keyword, element in elements.items()}
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds of exceptions
        return one_line(error_text(error))
    return {keyword: text for keyword, text in texts.items() if text}


def _text(element: DataElement) -> str:
    value = element.value
    if value is None:
        return ""
    if element.VR == "SQ":
        return f"{len(value)} {'item' if len(value) == 1 else 'items'}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    many = value if element.VM > 1 else [value]
    return shortened(without_escapes("\\".join(map(str, many))), _LONGEST)
