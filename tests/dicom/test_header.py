from __future__ import annotations

import contextlib
import io
import struct
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UID

from bulkdl.dicom.header import read_header
from bulkdl.errors import InvalidInstance
from tests.support.dicom_samples import NATIVE, SERIES_UID, SOP_UID, encoded, image, pydicom_file, pydicom_files


def test_reads_the_identity_of_a_file() -> None:
    header = read_header(pydicom_file("CT_small.dcm"))
    assert header.sop_uid == "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
    assert header.series_uid == "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
    assert header.study_uid == "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
    assert header.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2.1"


def test_reads_the_values_for_a_catalogue() -> None:
    header = read_header(pydicom_file("CT_small.dcm"))
    assert (header.patient_id, header.patient_name, header.patient_sex) == ("1CT1", "CompressedSamples^CT1", "O")
    assert (header.study_date, header.study_description) == (date(2004, 1, 19), "e+1")
    assert (header.modality, header.manufacturer, header.model) == ("CT", "GE MEDICAL SYSTEMS", "RHAPSODE")
    assert (header.series_number, header.instance_number, header.acquisition_number) == (1, 1, 2)
    assert header.patient_birth_date is None
    assert header.phantom is None


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.keyword)
def test_reads_lengths(syntax: UID) -> None:
    header = read_header(encoded(image(SliceThickness="2.5", PixelSpacing=["0.75", "0.5"]), syntax))
    assert (header.slice_thickness_mm, header.pixel_spacing_mm) == (2.5, 0.75)


@pytest.mark.parametrize("raw", [b"", b"0 ", b"-1", b"nan ", b"1e999 ", b"wide"])
def test_an_invalid_length_is_none(raw: bytes) -> None:
    content = encoded(image(SliceThickness="1" * (len(raw) or 2)))
    written = content.replace(
        b"DS" + struct.pack("<H", len(raw) or 2) + b"1" * (len(raw) or 2), b"DS" + struct.pack("<H", len(raw)) + raw
    )
    assert written != content
    assert read_header(written).slice_thickness_mm is None


def test_reads_a_file_that_is_truncated_after_its_uids_without_its_spacing() -> None:
    content = encoded(image(InstanceNumber="7", ImageComments="words", PixelSpacing=["0.75", "0.5"]))
    header = read_header(content[: content.index(b"\x28\0\x30\0") + 10])
    assert (header.instance_number, header.pixel_spacing_mm) == (7, None)


def test_a_path_its_bytes_and_an_open_file_give_the_same_header() -> None:
    path = pydicom_file("CT_small.dcm")
    with path.open("rb") as file:
        assert read_header(path) == read_header(path.read_bytes()) == read_header(file)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.keyword)
def test_reads_every_way_to_write_a_data_set(syntax: UID) -> None:
    made = image(LongitudinalTemporalOffsetFromEvent=-12.5, QualityControlSubject="YES")
    header = read_header(encoded(made, syntax))
    assert (header.sop_uid, header.series_uid) == (SOP_UID, SERIES_UID)
    assert header.longitudinal_offset_days == -12.5
    assert header.phantom is True


@pytest.mark.parametrize("block", [0x10, 0x11, 0xFF])
def test_finds_the_collection_in_any_block_of_ctp(block: int) -> None:
    made = image()
    if block > 0x10:
        made.add_new((0x0013, 0x0010), "LO", "SOMEBODY ELSE")
        made.add_new((0x0013, 0x1010), "LO", "not this")
    made.add_new((0x0013, block), "LO", "CTP")
    made.add_new((0x0013, block << 8 | 0x10), "LO", "A-COLLECTION ")
    made.add_new((0x0013, block << 8 | 0x12), "LO", "A-SITE")
    header = read_header(encoded(made))
    assert (header.collection, header.site) == ("A-COLLECTION", "A-SITE")


def test_does_not_take_the_private_block_of_another_for_a_collection() -> None:
    made = image()
    made.private_block(0x0013, "SOMEBODY ELSE", create=True).add_new(0x10, "LO", "A-COLLECTION")
    assert read_header(encoded(made)).collection is None


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("undefined", [False, True], ids=["defined length", "undefined length"])
def test_reads_the_species_from_its_sequence(syntax: UID, *, undefined: bool) -> None:
    species = Dataset()
    species.CodeValue = "447612001"
    species.CodingSchemeDesignator = "SCT"
    species.is_undefined_length_sequence_item = undefined
    made = image(PatientSpeciesCodeSequence=[species], PatientSpeciesDescription="Mus musculus")
    made["PatientSpeciesCodeSequence"].is_undefined_length = undefined
    header = read_header(encoded(made, syntax))
    assert (header.species_code, header.species_description) == ("447612001", "Mus musculus")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("chrArab.dcm", "قباني^لنزار"),
        ("chrFren.dcm", "Buc^Jérôme"),
        ("chrGreek.dcm", "Διονυσιος"),
        ("chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrH32.dcm", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        ("chrI2.dcm", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("chrRuss.dcm", "Люкceмбypг"),  # noqa: RUF001 - its own mixture of letters
        ("chrX1.dcm", "Wang^XiaoDong=王^小東="),
    ],
)
def test_reads_names_in_all_character_sets(file: str, name: str) -> None:
    assert read_header(pydicom_file(file)).patient_name == name


_IR_58 = b"Zhang^XiaoDong=" + b"".join(b"\x1b$)A" + part.encode("gb2312") + b"^" for part in ("张", "小东"))


@pytest.mark.parametrize(
    ("character_set", "raw", "name"),
    [
        (b"\\ISO 2022 IR 58", _IR_58[:-1] + b"=", "Zhang^XiaoDong=张^小东="),
        (b"\\ISO 2022 IR 58", _IR_58.replace(b"^", b"^\x1b(B"), "Zhang^XiaoDong=张^小东^"),
        (b"", b"A\x1b(BB", "AB"),
        (b"\\ISO 2022 IR 999", b"A\x1b-AB", "AB"),
        (b"ISO_IR 100", b"A\x1b", "A"),
    ],
    ids=["IR 58", "IR 58 and back", "none", "unknown", "cut"],
)
def test_no_escape_sequence_is_left_in_a_text(character_set: bytes, raw: bytes, name: str) -> None:
    content = _with("PatientName", raw + b" " * (len(raw) % 2), _with("SpecificCharacterSet", character_set))
    assert read_header(content).patient_name == name


_PLAIN = encoded(image(PatientName="X", StudyDate="20200101", SeriesNumber=1, SpecificCharacterSet="ISO_IR 100"))


def _with(keyword: str, raw: bytes, content: bytes = _PLAIN) -> bytes:
    """An image whose attribute has the bytes `raw`, valid or not."""
    tag = {
        "StudyDate": (8, 0x20),
        "SeriesNumber": (0x20, 0x11),
        "SpecificCharacterSet": (8, 5),
        "PatientName": (16, 16),
    }
    vr = {"StudyDate": b"DA", "SeriesNumber": b"IS", "SpecificCharacterSet": b"CS", "PatientName": b"PN"}[keyword]
    at = content.index(struct.pack("<HH", *tag[keyword]) + vr)
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    return content[: at + 6] + struct.pack("<H", len(raw)) + raw + content[at + 8 + length :]


@pytest.mark.parametrize("raw", [b"", b"20201301", b"2020", b"20200230", b"0000.00.00", b"\xff" * 8, b"yesterday "])
def test_an_invalid_date_is_none(raw: bytes) -> None:
    assert read_header(_with("StudyDate", raw)).study_date is None


def test_reads_dates_of_acr_nema() -> None:
    assert read_header(_with("StudyDate", b"1993.08.22")).study_date == date(1993, 8, 22)


@pytest.mark.parametrize("raw", [b"", b"one ", b"1.5 ", b"\xff\xfe", b"9" * 5000, b"99999999999 "])
def test_an_invalid_number_is_none(raw: bytes) -> None:
    assert read_header(_with("SeriesNumber", raw)).series_number is None


@given(st.binary(max_size=40))
def test_any_character_set_and_any_name_give_a_text_that_can_be_stored(raw: bytes) -> None:
    for content in (_with("PatientName", raw), _with("SpecificCharacterSet", raw)):
        (read_header(content).patient_name or "").encode("utf-8")


@pytest.mark.parametrize("character_set", [b"utf_7 ", b"utf-16", b"idna", b"raw_unicode_escape", b"rot13", b"\\\\"])
def test_text_of_any_codec_can_be_stored(character_set: bytes) -> None:
    content = _with("SpecificCharacterSet", character_set)
    for raw in (b"\xd8\xff", b"+2AA-\xe9", rb"\ud800\xe9".replace(rb"\xe9", b"\xe9")):
        (read_header(_with("PatientName", raw, content)).patient_name or "").encode("utf-8")


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.keyword)
def test_reads_files_that_validation_accepts_with_a_note(syntax: UID) -> None:
    """Otherwise `serve` would not list what `mirror` accepts."""
    made = image(NumberOfFrames="1", PatientID="P1")
    made.add_new((0x0005, 0x0010), "LO", "TEST")
    for tail in (b"", b"\0", bytes(512)):
        assert read_header(encoded(made, syntax) + tail).patient_id == "P1"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("no_meta.dcm", "no DICOM preamble and meta information"),
        ("README.txt", "no DICOM preamble and meta information"),
        ("DICOMDIR", "a DICOMDIR"),
        ("UN_sequence.dcm", "no SOP Instance UID"),
        ("JPEGLSNearLossless_08.dcm", "no Series Instance UID"),
    ],
)
def test_says_why_a_file_cannot_be_served(file: str, reason: str) -> None:
    with pytest.raises(InvalidInstance, match=reason):
        read_header(pydicom_file(file))


def test_says_that_a_uid_is_invalid() -> None:
    with pytest.raises(InvalidInstance, match=r"invalid UID: .*'1\.2\.a'"):
        read_header(encoded(image()).replace(b"1.2.3.3\0", b"1.2.a\0\0\0"))


def test_says_that_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInstance, match="not readable: No such file"):
        read_header(tmp_path / "missing.dcm")


def test_says_that_a_head_is_truncated() -> None:
    content = encoded(image())
    with pytest.raises(InvalidInstance, match=r"not readable: \(0010,0020\) claims 2 bytes where there are 1"):
        read_header(content[: content.index(b"LO\x02\x00P ") + 5])


def test_a_private_study_uid_is_none() -> None:
    assert read_header(encoded(image()).replace(b"1.2.3.2\0", b"secret\0\0")).study_uid is None


def test_inflates_only_the_beginning_of_a_deflated_file() -> None:
    """A scan of a folder must not inflate whole data sets."""
    content = encoded(image(PixelData=bytes(range(256)) * 8192, Rows=1024, Columns=1024), NATIVE[-1])
    assert read_header(content[:-200]).sop_uid == SOP_UID


def test_leaves_a_file_open_that_it_did_not_open() -> None:
    file = io.BytesIO(encoded(image()))
    read_header(file)
    assert not file.closed


@given(st.data())
def test_any_bytes_give_a_header_or_are_invalid(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([path for path in pydicom_files() if path.stat().st_size < 12_000]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + 1] = data.draw(st.binary(max_size=6))
    with contextlib.suppress(InvalidInstance):
        read_header(bytes(content))
