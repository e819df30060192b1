"""The frames of encapsulated pixel data: as many as promised, and each begins and ends as its syntax says."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate_extended, generate_frames
from pydicom.uid import (
    MPEG2MPML,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from bulkdl.dicom.frames import shape_of_codestream
from bulkdl.dicom.validation import validate
from bulkdl.errors import InvalidInstance
from bulkdl.model.settings import ValidationLevel
from tests.support.dicom_samples import encapsulated, encoded, image, jpeg, pydicom_file


def _notes(content: bytes, level: ValidationLevel = ValidationLevel.STRUCTURE) -> tuple[str, ...]:
    return validate(content, level=level, expected=None).notes


def _items(table: list[int], fragments: list[bytes]) -> bytes:
    items = [struct.pack(f"<{len(table)}L", *table), *fragments]
    return b"".join(b"\xfe\xff\0\xe0" + struct.pack("<L", len(item)) + item for item in items)


def _in_fragments(frames: list[bytes], each: int) -> tuple[list[bytes], list[int]]:
    """The frames in `each` fragments, of even lengths, and the offsets of the frames."""
    fragments: list[bytes] = []
    offsets = []
    for frame in frames:
        offsets.append(sum(8 + len(fragment) for fragment in fragments))
        size = (len(frame) // each + 2) & ~1
        parts = [frame[at : at + size] for at in range(0, len(frame), size)]
        fragments += [part + b"\0" * (len(part) % 2) for part in parts]
    return fragments, offsets


def _image(frames: int, items: bytes, syntax: UID = JPEGLSLossless, **attributes: object) -> bytes:
    return encoded(image(NumberOfFrames=frames, PixelData=items, **attributes), syntax)


@pytest.fixture(scope="module")
def three() -> list[bytes]:
    """Three frames of JPEG 2000, 64 by 64 pixels."""
    pixels = b"".join(np.full((64, 64), 500 * number, "<u2").tobytes() for number in (1, 2, 3))
    made = image(Rows=64, Columns=64, NumberOfFrames=3, PixelData=pixels)
    encoded(made)
    made.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    return list(generate_frames(made.PixelData, number_of_frames=3))


# --- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [ValidationLevel.STRUCTURE, ValidationLevel.PIXELS])
@pytest.mark.parametrize("each", [1, 2, 3])
@pytest.mark.parametrize("has_table", [False, True], ids=["no table", "table"])
def test_every_promised_frame_must_be_there(
    three: list[bytes], each: int, level: ValidationLevel, *, has_table: bool
) -> None:
    for kept in (1, 2, 3):
        fragments, offsets = _in_fragments(three[:kept], each)
        content = _image(3, _items(offsets if has_table else [], fragments), JPEG2000Lossless, Rows=64, Columns=64)
        if kept == 3:
            assert _notes(content, level) == ()
        else:
            with pytest.raises(InvalidInstance, match=r"frame"):
                _notes(content, level)


@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda offsets, end: [*offsets[:2], end],
        lambda offsets, _: [*offsets[:2], 0x7FFFFFF0],
        lambda offsets, _: [*offsets[:2], offsets[2] + 2],
        lambda offsets, _: [*offsets[:2], offsets[1]],
        lambda offsets, _: [offsets[0], offsets[2], offsets[1]],
        lambda offsets, _: [8, *offsets[1:]],
    ],
    ids=["at the end", "behind the end", "inside a fragment", "the same twice", "out of order", "not at the first"],
)
def test_offsets_must_lead_to_frames(three: list[bytes], each: int, wrong: object) -> None:
    fragments, offsets = _in_fragments(three, each)
    end = sum(8 + len(fragment) for fragment in fragments)
    table = wrong(offsets, end)  # type: ignore[operator]
    content = _image(3, _items(table, fragments), JPEG2000Lossless, Rows=64, Columns=64)
    with pytest.raises(InvalidInstance, match=r"frame \d of 3 is at offset \d+, where no new fragment begins"):
        _notes(content)


def test_an_extended_offset_table_must_lead_to_frames(three: list[bytes]) -> None:
    items, offsets, lengths = encapsulate_extended(three)
    tables = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths, "Rows": 64, "Columns": 64}
    assert _notes(_image(3, items, JPEG2000Lossless, **tables), ValidationLevel.PIXELS) == ()
    tables["ExtendedOffsetTable"] = offsets[:-8] + (1 << 40).to_bytes(8, "little")
    with pytest.raises(InvalidInstance, match="frame 3 of 3 is at offset 1099511627776"):
        _notes(_image(3, items, JPEG2000Lossless, **tables))


def test_a_table_of_zeros_is_not_used(three: list[bytes]) -> None:
    """Some writers reserve the table and do not fill it in."""
    content = _image(3, _items([0, 0, 0], three), JPEG2000Lossless, Rows=64, Columns=64)
    assert _notes(content, ValidationLevel.PIXELS) == ()


def test_notes_an_offset_table_of_another_length() -> None:
    assert _notes(_image(1, _items([0, 8], [jpeg()]))) == ("Basic Offset Table of 2 entries for 1 frames is not used",)


def test_every_frame_needs_a_fragment() -> None:
    with pytest.raises(InvalidInstance, match="1 fragments of pixel data for 2 frames"):
        _notes(encapsulated([jpeg()], NumberOfFrames=2))


def test_notes_more_frames_than_promised(three: list[bytes]) -> None:
    content = _image(2, _items([], three), JPEG2000Lossless, Rows=64, Columns=64)
    assert _notes(content, ValidationLevel.PIXELS) == ("3 frames of pixel data, 2 by Number of Frames",)


def test_notes_more_frames_than_one(three: list[bytes]) -> None:
    content = _image(1, _items([], _in_fragments(three[:2], 2)[0]), JPEG2000Lossless, Rows=64, Columns=64)
    assert _notes(content, ValidationLevel.PIXELS) == ("2 frames of pixel data, 1 by Number of Frames",)


def test_a_video_may_be_one_fragment() -> None:
    assert _notes(encapsulated([b"many frames in one"], MPEG2MPML, NumberOfFrames=200)) == ()


@given(st.lists(st.integers(0, 1 << 32), max_size=6), st.integers(0, 5), st.integers(0, 4))
def test_any_table_gives_a_verdict(table: list[int], frames: int, fragments: int) -> None:
    items = _items([offset % (1 << 32) for offset in table], [jpeg(b"12")] * fragments)
    with contextlib.suppress(InvalidInstance):
        _notes(_image(frames, items))


# --- how frames begin and end -----------------------------------------------------------------------------------------

_HTML = b"<html>502 Bad Gateway</html>"


@pytest.mark.parametrize(
    "syntax",
    ["4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91", "4.201", "4.203", "4.110", "4.112", "5"],
)
@pytest.mark.parametrize("frame", [_HTML, bytes(200), b""], ids=["HTML", "zeros", "empty"])
def test_a_frame_begins_as_its_syntax_says(syntax: str, frame: bytes) -> None:
    uid = UID(f"1.2.840.10008.1.2.{syntax}")
    content = _image(1, _items([], [frame]), RLELossless).replace(
        b"UI\x14\x001.2.840.10008.1.2.5\0", b"UI\x18\0" + uid.encode().ljust(24, b"\0")
    )
    assert uid.encode() in content
    with pytest.raises(InvalidInstance, match="frame 1 does not begin"):
        _notes(content)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEGExtended12Bit], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize(
    ("frame", "is_whole"),
    [
        (jpeg(b"12"), True),
        (jpeg(b"12") + b"\0", True),
        (jpeg(b"12") + bytes(14), True),
        (jpeg(b"12") + bytes(70_000), True),
        (jpeg(b"1" * 65_500) + bytes(70_000), True),
        (b"\xff\xd8" + b"1" * 400 + bytes(400), False),
        (b"\xff\xd8" + b"1" * 400, False),
        (jpeg(b"a thumbnail") + b"1" * 400 + bytes(400), False),
        (b"\xff\xd8" + bytes(70_000), False),
    ],
    ids=["whole", "odd", "padded", "long padding", "blocks", "half zeros", "cut", "another marker", "a hole"],
)
def test_a_frame_ends_with_its_end_marker(syntax: UID, frame: bytes, *, is_whole: bool) -> None:
    """Decoders that conceal errors decode a frame with a hole in it."""
    content = encapsulated([frame], syntax)
    if is_whole:
        assert _notes(content) == ()
    else:
        with pytest.raises(InvalidInstance, match="frame 1 has no end marker"):
            _notes(content)


@pytest.mark.parametrize("cut", [1, 2, 3, 15, 16, 17])
def test_the_end_marker_may_lie_across_fragments(cut: int) -> None:
    frame = jpeg(b"1" * 30)
    frame += b"\0" * (len(frame) % 2)
    assert _notes(_image(1, _items([], [frame[:-cut], frame[-cut:]]))) == ()


def test_notes_bytes_after_the_end_of_a_baseline_frame() -> None:
    """Observed in a cine file of fo-dicom's tests, which decoders read."""
    assert _notes(encapsulated([jpeg() + b"rubbish after the marker"], JPEGBaseline8Bit)) == (
        "frame 1 does not end with its end marker",
    )


def test_a_baseline_frame_without_an_end_marker_does_not_decode() -> None:
    content = pydicom_file("SC_rgb_small_odd_jpeg.dcm").read_bytes()
    at = content.rindex(b"\xff\xd9")
    with pytest.raises(InvalidInstance, match="frame 1 has no end marker"):
        _notes(content[:at] + b"\0\0" + content[at + 2 :], ValidationLevel.PIXELS)


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<16L", 0, *[0] * 15),
        struct.pack("<16L", 16, 64, *[0] * 14),
        struct.pack("<16L", 1, 0, *[0] * 14),
        struct.pack("<16L", 2, 64, 500, *[0] * 13),
        struct.pack("<16L", 2, 64, 64, *[0] * 13),
        b"\1\0\0\0\x40",
    ],
    ids=["no segments", "too many", "at 0", "behind the end", "twice", "cut"],
)
def test_a_header_of_rle_fits_its_frame(head: bytes) -> None:
    with pytest.raises(InvalidInstance, match="frame 1 does not begin with a header of RLE"):
        _notes(encapsulated([head + b"\1\1\1\1"], RLELossless))


def test_a_frame_may_have_many_fragments() -> None:
    fragments = [b"\xff\xd8", *[b"\0\0"] * 20_000, b"\xff\xd9"]
    assert _notes(_image(1, _items([], fragments))) == ()


@pytest.mark.parametrize(
    ("frame", "shape"),
    [
        ("ff4fff51 0029 0000 00000140 000000f0 00000010 00000020", (208, 304)),
        ("ffd8 ffe0 0004 0000 ffc0 0011 08 00f0 0140 03 000000", (240, 320)),
        ("ffd8 fff7 000b 0c 0200 0100 01 000000", (512, 256)),
        ("ffd8 ffda 0004", None),
        ("ffd8 ff", None),
        ("", None),
        ("0000000c6a502020", None),
    ],
    ids=["JPEG 2000 with an offset", "JPEG", "JPEG-LS", "no frame header", "cut", "empty", "JP2"],
)
def test_a_codestream_tells_the_shape_that_its_decoder_will_claim(frame: str, shape: tuple[int, int] | None) -> None:
    assert shape_of_codestream(bytes.fromhex(frame)) == shape
