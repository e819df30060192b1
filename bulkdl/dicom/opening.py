"""How pydicom opens a file whose File Meta Information and data set were walked before.

`dcmread` parses the meta information again and makes three data sets: half of the time of a validation. pydicom's own
generator reads the elements of a plain file instead, from where the walk knows that the data set begins. `dcmread`
opens what is not plain, and what fails in the generator, so nothing is accepted or rejected otherwise than by it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

from bulkdl.dicom.attributes import PIXEL_DATA_KEYWORDS, InstanceAttributes, Tag
from bulkdl.dicom.part10 import DEFLATED_LITTLE, JPIP_DEFLATED, STANDARD, FileMeta, uid_text

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import RawDataElement

_DEFER_BYTES = 1 << 12
_CHARACTER_SET = 0x00080005
_INFLATED = JPIP_DEFLATED | {DEFLATED_LITTLE}


def sop_uid_by_pydicom(file: BinaryIO, meta: FileMeta, attributes: InstanceAttributes, *, expected: str) -> str:
    """The SOP Instance UID that pydicom reads in a file, at best the `expected` one. It may raise any exception."""
    syntax = meta.transfer_syntax_uid or ""
    if meta.is_plain and syntax.startswith(STANDARD) and syntax not in _INFLATED:
        with suppress(Exception):  # whatever it is, `dcmread` decides
            if _generated_sop_uid(file, meta, attributes) == expected:
                return expected
    tags = [Tag.SOP_INSTANCE]
    read = read_with_pydicom(file, attributes, syntax, defer_size=_DEFER_BYTES, specific_tags=tags)
    return uid_text(read.get_item(Tag.SOP_INSTANCE).value or b"")


def _generated_sop_uid(file: BinaryIO, meta: FileMeta, attributes: InstanceAttributes) -> str | None:
    """The same, read from a data set as `dcmread` reads it: to its end, with the encoding that the walk has found."""
    from pydicom.dataelem import RawDataElement  # noqa: PLC0415 - late: pydicom takes a tenth of a second
    from pydicom.filereader import data_element_generator  # noqa: PLC0415

    file.seek(meta.end)
    tags = [Tag.SOP_INSTANCE]
    found = None
    for element in data_element_generator(
        file, attributes.is_implicit, attributes.walk.little, defer_size=_DEFER_BYTES, specific_tags=tags
    ):
        if not isinstance(element, RawDataElement):  # a sequence in the place of one of the two
            return None
        if element.tag == Tag.SOP_INSTANCE:
            found = uid_text(element.value or b"")
        elif element.tag == _CHARACTER_SET:
            _convert_character_set(element._replace(value_tell=0))
    return found


@lru_cache(maxsize=64)
def _convert_character_set(element: RawDataElement) -> None:
    """What `dcmread` does with the Specific Character Set: it may raise."""
    from pydicom.charset import convert_encodings  # noqa: PLC0415 - late, as above
    from pydicom.dataelem import convert_raw_data_element  # noqa: PLC0415

    convert_encodings(convert_raw_data_element(element).value)


def read_with_pydicom(file: BinaryIO, attributes: InstanceAttributes, syntax: str, **options: Any) -> Dataset:
    """What pydicom reads of a file with `options`, which may raise any exception. It does not inflate a second time."""
    from pydicom.filereader import dcmread, read_dataset  # noqa: PLC0415 - late, as above

    if syntax == DEFLATED_LITTLE:
        if options.pop("stop_before_pixels", False):
            options["stop_when"] = lambda tag, *_: tag in PIXEL_DATA_KEYWORDS
        return read_dataset(attributes.walk.open_at(), is_implicit_VR=False, is_little_endian=True, **options)
    file.seek(0)
    return dcmread(file, **options)
