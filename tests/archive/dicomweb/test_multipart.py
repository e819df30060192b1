"""Multipart responses, whole, in pieces, damaged and hostile."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.dicomweb.multipart import MultipartReader
from bulkdl.errors import BundleError
from bulkdl.model.bundles import BundleEvent, BundleLimits, EntryData, EntryEnded, EntryStarted

TYPE = 'multipart/related; type="application/dicom"; boundary=b0'
DICOM_PART = b"Content-Type: application/dicom"


def response(parts: Sequence[bytes], *, header: bytes = DICOM_PART, boundary: bytes = b"b0") -> bytes:
    """The body of a response."""
    made = b"".join(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, header, part) for part in parts)
    return made + b"--%b--\r\n" % boundary


def events_of(
    content: bytes, *, cuts: Sequence[int] = (), content_type: str = TYPE, limits: BundleLimits | None = None
) -> list[BundleEvent]:
    """All events of a body that arrives in pieces."""
    reader = MultipartReader(content_type, limits=limits)
    borders = [0, *sorted(cuts), len(content)]
    found: list[BundleEvent] = []
    for start, end in pairwise(borders):
        events = reader.feed(content[start:end])
        found += [EntryData(bytes(event.data)) if isinstance(event, EntryData) else event for event in events]
    return [*found, *reader.close()]


def contents(events: Sequence[BundleEvent]) -> list[bytes]:
    """The bytes of each complete entry."""
    found: list[bytes] = []
    current = b""
    for event in events:
        match event:
            case EntryStarted():
                current = b""
            case EntryData():
                current += event.data
            case EntryEnded():
                assert event.size_bytes == len(current)
                found.append(current)
    return found


BARE = bytes(128) + b"DICM" + b"\r\n--b0--" * 20
BYTES = st.binary(max_size=200) | st.lists(st.sampled_from([b"\r\n", b"--", b"b0", b"-", b"\r", b"x"])).map(b"".join)
PARTS = st.lists(BYTES.filter(lambda content: b"\r\n--b0" not in b"\r\n" + content + b"\r\n"), max_size=5)


@given(parts=PARTS, data=st.data())
def test_parts_are_read_however_the_body_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    body = response(parts)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    if not parts:  # the closing delimiter alone
        assert events_of(body, cuts=cuts) == []
    assert contents(events_of(body, cuts=cuts)) == parts


@given(parts=PARTS.filter(bool), data=st.data())
def test_a_body_that_is_cut_off_is_an_error(parts: list[bytes], data: st.DataObject) -> None:
    body = response(parts)
    end = data.draw(st.integers(0, len(body) - len(b"--\r\n")))
    with pytest.raises(BundleError):
        events_of(body[:end])


@given(st.binary(max_size=500), st.lists(st.integers(0, 500), max_size=4))
def test_any_bytes_are_read_or_refused(content: bytes, cuts: list[int]) -> None:
    with contextlib.suppress(BundleError):
        events_of(b"--b0\r\n" + content, cuts=[cut for cut in cuts if cut <= len(content)])


def test_position_and_announced_size_are_given() -> None:
    header = DICOM_PART + b"\r\nContent-Length: 3\r\nContent-Location: /instances/1"
    started, data, ended = events_of(response([b"abc"], header=header))
    assert started == EntryStarted(1, "/instances/1", 3)
    assert (data, ended) == (EntryData(b"abc"), EntryEnded(1, 3))


@pytest.mark.parametrize(
    "body",
    [
        b"preamble\r\n" + response([b"abc"]),
        b"\r\n" + response([b"abc"]),
        response([b"abc"]) + b"epilogue",
        response([b"abc"]).replace(b"--b0\r\n", b"--b0 \t\r\n"),
        response([b"abc"], header=b"content-TYPE:application/dicom;transfer-syntax=1.2"),
        b"--b0\r\n\r\nabc\r\n--b0--",
        b"--b0\n\nabc\n--b0--",
        b"--b0 \nContent-Type: application/dicom\nX: y\n\nabc\n--b0--\n",
        response([b"abc"], header=b"Content-Type:\r\n application/dicom;\r\n\ttransfer-syntax=1.2"),
        response([b"abc"], header=b"Content-Type: application/octet-stream"),
        b"--b0x\r\n" + response([b"abc"]),
    ],
    ids=[
        *("preamble", "line break", "epilogue", "padding", "case and parameters", "no header"),
        *("LF alone", "LF and padding", "folded", "no type", "another delimiter before"),
    ],
)
def test_variants_of_the_standard_are_read(body: bytes) -> None:
    assert contents(events_of(body)) == [b"abc"]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/related; boundary=b0",
        'multipart/related; boundary="b0"; type="application/dicom"',
        'Multipart/Related;type="application/dicom";BOUNDARY=b0',
    ],
)
def test_the_boundary_is_found(content_type: str) -> None:
    assert contents(events_of(response([b"abc"]), content_type=content_type)) == [b"abc"]


def test_the_boundary_of_orthanc_is_longer_than_the_standard_allows() -> None:
    """Seventy-three characters, where it stores instances elsewhere (observed with 1.10.1)."""
    long = "-".join(["b7e2108f-2521-4ba2-8292-3a54d7879905"] * 2)
    content_type = f'multipart/related; type="application/dicom"; boundary={long}'
    assert contents(events_of(response([b"abc"], boundary=long.encode()), content_type=content_type)) == [b"abc"]


@pytest.mark.parametrize(
    "content_type",
    ["text/html; boundary=b0", "application/dicom+json", "application/xml", "text/plain"],
)
def test_a_response_of_text_is_refused(content_type: str) -> None:
    with pytest.raises(BundleError, match="does not announce DICOM files"):
        MultipartReader(content_type)


WITHOUT_BOUNDARY = [
    "",
    "application/octet-stream",
    "multipart/related",
    "multipart/related; boundary=",
    "multipart/related; boundary=\u00fc",
    'multipart/related; boundary="' + "x" * 129 + '"',
    'multipart/related; boundary="x\r\ny"x',
]


@pytest.mark.parametrize("content_type", WITHOUT_BOUNDARY)
@pytest.mark.parametrize("cuts", [(), (1,), (40,)])
def test_the_first_line_states_the_boundary_that_the_header_does_not(content_type: str, cuts: tuple[int, ...]) -> None:
    body = response([b"abc", b"--b1"], boundary=b"a/b:c=d+e")
    assert contents(events_of(body, cuts=cuts, content_type=content_type)) == [b"abc", b"--b1"]


@pytest.mark.parametrize("content_type", [TYPE, *WITHOUT_BOUNDARY])
@pytest.mark.parametrize("cuts", [(), (1,), (131,), (140,)])
def test_a_bare_file_is_one_entry(content_type: str, cuts: tuple[int, ...]) -> None:
    assert contents(events_of(BARE, cuts=cuts, content_type=content_type)) == [BARE]


@pytest.mark.parametrize("content", [b"", b"a" * 40, b"a" * 4_000])
def test_what_is_neither_is_an_error(content: bytes) -> None:
    with pytest.raises(BundleError):
        events_of(content, content_type="application/octet-stream")


@given(parts=PARTS.filter(bool), data=st.data())
def test_what_looks_like_a_delimiter_in_a_part_of_known_length_is_data(parts: list[bytes], data: st.DataObject) -> None:
    parts = [part + b"\r\n--b0\r\n\r\n" for part in parts]
    sized = [b"Content-Length: %d" % len(part) for part in parts]
    body = b"".join(b"--b0\r\n%b\r\n\r\n%b\r\n" % pair for pair in zip(sized, parts, strict=True)) + b"--b0--"
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    assert contents(events_of(body, cuts=cuts)) == parts


def test_a_wrong_length_can_be_ignored() -> None:
    reader = MultipartReader(TYPE, ignores_lengths=True)
    events = [*reader.feed(response([b"abc"], header=b"Content-Length: 7")), *reader.close()]
    assert EntryEnded(1, 3) in events


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (response([b"abc"], header=DICOM_PART + b"\r\nContent-Length: 4"), "no delimiter follows the 4 bytes"),
        (response([b"abc"], header=b"Content-Type: text/html"), "'text/html' instead of"),
        (
            response([b"abc"], header=DICOM_PART + b"\r\nContent-Transfer-Encoding: base64"),
            "transfer encoding 'base64'",
        ),
        (response([b"abc"], header=b"no field"), "malformed"),
        (response([b"abc"], header=b"X: a\0b"), "malformed"),
        (response([b"abc"], header=DICOM_PART + b"\r\nContent-Length: 2"), "no delimiter follows the 2 bytes"),
        (b"--b0\r\nContent-Length: 3\r\n\r\nabc\r\n--b0x\r\n--b0--", "no delimiter follows the 3 bytes"),
        (b"--b0x\r\n\r\n", "truncated"),
        (b"--b0" + b" " * 20_000, "truncated"),
        (b"--b0\r\nX: " + b"x" * 20_000, "header of a part is longer"),
        (b"x" * 70_000 + response([b"abc"]), "outside the parts"),
        (response([b"abc"]) + b"x" * 70_000, "outside the parts"),
        (b"<html></html>", "truncated"),
        (b"", "truncated"),
    ],
)
def test_a_damaged_response_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        events_of(body)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (BundleLimits(max_entries=2), "more than 2 parts"),
        (BundleLimits(max_entry_bytes=99), "limit of bytes"),
        (BundleLimits(max_total_bytes=250), "limit of bytes"),
    ],
)
def test_limits_are_kept(limits: BundleLimits, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        events_of(response([b"x" * 100] * 3), limits=limits)


def test_after_a_failure_the_reader_stays_failed() -> None:
    reader = MultipartReader(TYPE)
    for _ in range(2):
        with pytest.raises(BundleError, match="malformed"):
            list(reader.feed(b"--b0\r\nno field\r\n\r\n"))
    with pytest.raises(BundleError, match="malformed"):
        list(reader.close())


def test_large_parts_are_passed_on_in_pieces_without_waiting_for_the_end() -> None:
    reader = MultipartReader(TYPE)
    body = response([b"x" * (3 << 20)])
    sizes = [len(event.data) for event in reader.feed(body[: 2 << 20]) if isinstance(event, EntryData)]
    assert sum(sizes) > (2 << 20) - 200
    assert max(sizes) <= 1 << 20
