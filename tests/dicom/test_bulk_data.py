"""Where frames and bulk data lie, against pydicom, on all files of pydicom."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from bulkdl.dicom.bulk_data import Piece, read_bulk_data, read_frames
from bulkdl.errors import InvalidInstance
from tests.support.dicom_samples import encoded, image, pydicom_files


def put(path: Path, made: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    path.write_bytes(encoded(made, syntax))
    return path


def content(path: Path, piece: Piece) -> bytes:
    if isinstance(piece, bytes):
        return piece
    whole = path.read_bytes()
    return b"".join(whole[offset : offset + size] for offset, size in piece)


@pytest.mark.filterwarnings("ignore")
def test_frames_are_those_that_pydicom_finds() -> None:
    encapsulated = native = 0
    for path in pydicom_files():
        try:
            found = read_frames(path, [1])
        except InvalidInstance:
            continue
        if not found.pieces:
            continue
        (first,) = found.pieces
        data = dcmread(path, force=True)
        count = int(data.get("NumberOfFrames") or 1)
        found = read_frames(path, range(1, count + 1))
        assert read_frames(path, [count + 1]).pieces == ()
        frames = [content(path, piece) for piece in found.pieces]
        assert frames[0] == content(path, first)
        if found.is_encapsulated:
            encapsulated += 1
            assert frames == list(generate_frames(data.PixelData, number_of_frames=count)), path
        else:
            native += 1
            pixels = data[_tag_of(data)].value
            if data.BitsAllocated > 1:
                assert pixels.startswith(b"".join(frames)), path
            assert content(path, read_bulk_data(path, _tag_of(data)).pieces[0]) == pixels
    assert (encapsulated > 25, native > 40) == (True, True), (encapsulated, native)


def _tag_of(data: Dataset) -> str:
    return next(tag for tag in ("7FE00010", "7FE00008", "7FE00009") if int(tag, 16) in data)


def test_frames_of_single_bits_begin_with_a_byte(tmp_path: Path) -> None:
    """Three frames of 9 bits: 0b1_00000001, 0b0_00000010, 0b1_00000011, packed from the lowest bit on."""
    frames = [0b100000001, 0b000000010, 0b100000011]
    packed = sum(frame << 9 * number for number, frame in enumerate(frames)).to_bytes(4, "little")
    made = image(Rows=3, Columns=3, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=3, PixelData=packed)
    path = put(tmp_path / "file.dcm", made)
    found = read_frames(path, [3, 1, 2]).pieces
    assert [int.from_bytes(content(path, piece), "little") for piece in found] == [frames[2], frames[0], frames[1]]


def test_a_frame_without_a_size_is_none(tmp_path: Path) -> None:
    path = put(tmp_path / "file.dcm", image(Rows=0))
    with pytest.raises(InvalidInstance, match="no pixels"):
        read_frames(path, [1])
    assert read_bulk_data(path, "7FE00010").pieces


def test_what_is_deflated_is_sent_inflated(tmp_path: Path) -> None:
    made = image()
    path = put(tmp_path / "file.dcm", made, DeflatedExplicitVRLittleEndian)
    found = read_frames(path, [1])
    assert (found.transfer_syntax_uid, found.pieces) == (ExplicitVRLittleEndian, (made.PixelData,))


def test_bulk_data_is_found_by_its_place(tmp_path: Path) -> None:
    item = Dataset()
    item.EncapsulatedDocument = b"%PDF" * 300
    path = put(tmp_path / "file.dcm", image(DerivationCodeSequence=[Dataset(), item]))
    assert read_bulk_data(path, "00089215/2/00420011").pieces == (b"%PDF" * 300,)
    for missing in (
        *("00089215/1/00420011", "00089215/3/00420011", "00089215/0/00420011", "00420011", "00100020", "00089215"),
        *("00100020/1/00420011", "00089215/2/7FE00010", "7FE00010/1/00420011", "../../etc/passwd", "", "7fe00010"),
    ):
        assert read_bulk_data(path, missing).pieces == (), missing


def test_short_pixel_data_has_no_frames(tmp_path: Path) -> None:
    path = put(tmp_path / "file.dcm", image(NumberOfFrames=math.prod((3, 3))))
    assert read_frames(path, [1]).pieces
    with pytest.raises(InvalidInstance, match="where a frame needs"):
        read_frames(path, [9])
    assert read_frames(put(tmp_path / "other.dcm", image(PixelData=None)), [1]).pieces == ()
