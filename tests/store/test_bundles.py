from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bulkdl.errors import BundleError
from bulkdl.model.bundles import BundleEvent, BundleLimits, EntryData, EntryEnded, EntryStarted
from bulkdl.store.bundles import BundleReader, parse_md5hashes

if TYPE_CHECKING:
    from collections.abc import Iterable

Members = list[tuple[str, bytes]]


class OneWay(io.RawIOBase):
    """An output that cannot seek, like a socket: zip writers then put checksum and sizes after the data."""

    def __init__(self) -> None:
        super().__init__()
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.content += data
        return len(data)


def make_zip(members: Members, *, deflated: bool = True, streamed: bool = True, force_64: bool = False) -> bytes:
    out: OneWay | io.BytesIO = OneWay() if streamed else io.BytesIO()
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", method) as bundle:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with bundle.open(info, "w", force_zip64=force_64) as entry:
                entry.write(data)
    return bytes(out.content) if isinstance(out, OneWay) else out.getvalue()


def read(chunks: Iterable[bytes], limits: BundleLimits | None = None) -> Members:
    """The complete members of a bundle."""
    reader = BundleReader(limits)
    members: Members = []
    name, data = "", bytearray()

    def take(events: Iterable[object]) -> None:
        nonlocal name, data
        for event in events:
            match event:
                case EntryStarted(position, shown, _):
                    assert position == len(members) + 1
                    name, data = shown, bytearray()
                case EntryData(piece):
                    assert piece
                    data += piece
                case EntryEnded(position, size_bytes):
                    assert (position, size_bytes) == (len(members) + 1, len(data))
                    members.append((name, bytes(data)))

    for chunk in chunks:
        take(reader.feed(chunk))
    take(reader.close())
    return members


def cut_into(content: bytes, size: int) -> list[bytes]:
    return [content[place : place + size] for place in range(0, len(content), size)]


DATA = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=4), st.integers(1, 3000)),
    st.just(b"PK\x03\x04PK\x07\x08PK\x01\x02PK\x05\x06"),
)
NAMES = st.sampled_from(["00000001.dcm", "LICENSE", "../../etc/passwd", "/abs", "a\\b", "ünï.dcm", "same", "C:x"])
MEMBERS = st.lists(st.tuples(NAMES, DATA), max_size=6)
DATA_BEGINS = 31  # after a header of 30 bytes and a name of one
# Stored entries with sizes after the data cannot be read as a stream, so `streamed` and stored do not go together.
WAYS = st.sampled_from([(True, True), (True, False), (False, False)])

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")  # the duplicates are intended


@given(MEMBERS, WAYS, st.booleans(), st.integers(1, 400))
def test_any_zip_in_any_pieces_gives_the_same_members(
    members: Members,
    way: tuple[bool, bool],
    force_64: bool,  # noqa: FBT001 - drawn by hypothesis
    chunk_bytes: int,
) -> None:
    content = make_zip(members, deflated=way[0], streamed=way[1], force_64=force_64)
    assert read(cut_into(content, chunk_bytes)) == members
    assert read([content]) == members


@given(MEMBERS, WAYS, st.booleans(), st.data())
def test_a_truncated_zip_is_never_complete(
    members: Members,
    way: tuple[bool, bool],
    force_64: bool,  # noqa: FBT001 - drawn by hypothesis
    data: st.DataObject,
) -> None:
    content = make_zip(members, deflated=way[0], streamed=way[1], force_64=force_64)
    kept = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(BundleError, match=f"truncated after {kept:,} bytes"):
        read([content[:kept]])


@given(DATA, WAYS, st.data())
def test_a_flipped_bit_in_the_data_is_always_noticed(
    payload: bytes, way: tuple[bool, bool], data: st.DataObject
) -> None:
    """Unless it changes nothing: the last bits of a deflated entry are unused, and zeros may repeat zeros."""
    content = bytearray(make_zip([("a", payload)], deflated=way[0], streamed=way[1]))
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        packed_bytes = bundle.infolist()[0].compress_size
    assume(packed_bytes)
    place = DATA_BEGINS + data.draw(st.integers(0, packed_bytes - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    unpacked = inflated(bytes(content[DATA_BEGINS : DATA_BEGINS + packed_bytes])) if way[0] else None
    assume(unpacked != payload)
    with pytest.raises(BundleError):
        read([bytes(content)])


def inflated(packed: bytes) -> bytes | None:
    stream = zlib.decompressobj(-15)
    try:
        unpacked = stream.decompress(packed)
    except zlib.error:
        return None
    return unpacked if stream.eof and not stream.unused_data else None


@given(MEMBERS, st.data())
def test_broken_bytes_anywhere_never_give_wrong_members(members: Members, data: st.DataObject) -> None:
    """Every entry that ends is the packed one, or the zip is rejected."""
    content = bytearray(make_zip(members))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    try:
        found = read([bytes(content)])
    except BundleError:
        return
    assert [payload for _, payload in found] == [payload for _, payload in members]


@pytest.mark.parametrize("with_signature", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("payload", [b"", b"x", b"PK" * 50, bytes(5000)])
def test_every_form_of_descriptor_is_read(payload: bytes, wide: bool, with_signature: bool) -> None:  # noqa: FBT001
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(payload) + packer.flush()
    crc = zlib.crc32(payload)
    head = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 8, 8, 0, 0, 0, 0, 0, 1, 0) + b"a"
    descriptor = b"PK\x07\x08" * with_signature + struct.pack("<I2Q" if wide else "<3I", crc, len(packed), len(payload))
    entry = head + packed + descriptor
    fields = (20, 20, 8, 8, 0, 0, crc, len(packed), len(payload), 1, 0, 0, 0, 0, 0, 0)
    central = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *fields) + b"a"
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(entry), 0)
    assert read([entry + central + end]) == [("a", payload)]


def test_entries_before_the_damage_are_valid() -> None:
    content = bytearray(make_zip([("a", b"first"), ("b", b"second")]))
    content[content.index(b"PK\x03\x04", 1) + 6] |= 1
    events: list[BundleEvent] = []
    with pytest.raises(BundleError, match="entry 2 is encrypted"):
        events.extend(BundleReader().feed(bytes(content)))
    assert events == [EntryStarted(1, "a", None), EntryData(b"first"), EntryEnded(1, 5)]


def test_a_failure_is_raised_again() -> None:
    reader = BundleReader()
    calls: list[Callable[[], Iterable[object]]]
    calls = [lambda: reader.feed(b"<html>" * 10), lambda: reader.feed(b"more"), reader.close]
    for call in calls:
        with pytest.raises(BundleError, match="should begin a record"):
            list(call())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "truncated after 0 bytes"),
        (b'{"error": "no such series, and no zip either"}', "byte 0 of the zip should begin a record"),
        (make_zip([("a", b"x" * 99)], deflated=False), "stored with its size behind it"),
        (make_zip([("a", b"x")]) + b"more", "bytes behind the end"),
        (
            make_zip([("a", b"x")], streamed=False).replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01"),
            "encrypted",
        ),
        (make_zip([("a", b"x")]).replace(b"\x08\x00\x08\x00", b"\x08\x00\x0e\x00", 1), r"not known \(14\)"),
    ],
    ids=["empty", "JSON", "stored", "bytes after the end", "encrypted", "LZMA"],
)
def test_states_what_is_wrong(content: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        read([content])


def test_an_entry_that_the_directory_does_not_list_is_noticed() -> None:
    content = make_zip([("a", b"x"), ("b", b"y")])
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 1)
    end = content.index(b"PK\x05\x06")
    shorter = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, end - second, first, 0)
    with pytest.raises(BundleError, match="lists 1 entries and holds 2"):
        read([content[:first] + content[second:end] + shorter])


@pytest.mark.parametrize(("place", "what"), [(10, "count"), (12, "size"), (16, "place")])
def test_an_end_record_that_disagrees_is_noticed(place: int, what: str) -> None:
    content = bytearray(make_zip([("a", b"x")]))
    content[content.index(b"PK\x05\x06") + place] ^= 1
    with pytest.raises(BundleError, match="does not agree"):
        read([bytes(content)])
    assert what


def test_many_entries_are_counted_beyond_sixteen_bits() -> None:
    content = make_zip([(str(n), b"") for n in range(66_000)], streamed=False, deflated=False)
    assert len(read(cut_into(content, 1 << 16))) == 66_000


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (BundleLimits(max_entry_bytes=99_999), "entry 1 is larger than 99,999 bytes"),
        (BundleLimits(max_total_bytes=199_999), "unpacks to more than 199,999 bytes"),
        (BundleLimits(max_entries=1), "more than 1 entries"),
        (BundleLimits(max_ratio=100, free_ratio_bytes=150_000), "more than 100 times its size"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_a_bundle_beyond_the_limits_is_rejected(limits: BundleLimits, says: str, streamed: bool) -> None:  # noqa: FBT001
    content = make_zip([("a", bytes(100_000)), ("b", bytes(100_000))], streamed=streamed)
    with pytest.raises(BundleError, match=says):
        read([content], limits)
    assert len(read([content], BundleLimits(max_entry_bytes=100_000, max_total_bytes=200_000, max_entries=2))) == 2


def test_an_entry_that_states_a_size_beyond_the_limit_is_rejected_at_once() -> None:
    reader = BundleReader(BundleLimits(max_entry_bytes=99))
    with pytest.raises(BundleError, match="larger than 99 bytes"):
        next(reader.feed(make_zip([("a", bytes(100))], streamed=False)))


def test_memory_does_not_grow_with_the_unpacked_size() -> None:
    """Two hundred megabytes of zeros arrive in a few chunks; only a mebibyte at a time is in memory."""
    content = make_zip([("a", bytes(200_000_000))])
    reader = BundleReader()
    size_bytes = 0
    tracemalloc.start()
    try:
        for chunk in cut_into(content, 1 << 16):
            for event in reader.feed(chunk):
                if isinstance(event, EntryData):
                    size_bytes += len(event.data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size_bytes == 200_000_000
    assert peak_bytes < 8_000_000


def test_incompressible_data_passes_through_unchanged() -> None:
    payload = random.Random(1).randbytes(3_000_000)  # noqa: S311 - not for secrecy
    assert read(cut_into(make_zip([("a", payload)]), 100_000)) == [("a", payload)]


def test_md5_hashes_are_read_as_nbia_writes_them() -> None:
    text = "Filename,MD5Hash\n00000002.dcm,0CC175B9C0F1B6A831C399E269772661\nwith,comma.dcm,{}\nnone.dcm,null\n\n"
    assert parse_md5hashes(text.format("9" * 32)) == {
        "00000002.dcm": "0cc175b9c0f1b6a831c399e269772661",
        "with,comma.dcm": "9" * 32,
    }


READ_WITH = """
import sys
if sys.argv[2] == "zlib":
    sys.modules["zlib_ng"] = None
from pathlib import Path
from bulkdl.model.bundles import EntryData
from bulkdl.store.bundles import BundleReader, crc32
data = [event.data for event in BundleReader().feed(Path(sys.argv[1]).read_bytes()) if isinstance(event, EntryData)]
print(crc32.__module__, crc32(b"".join(data)))
"""


@pytest.mark.parametrize(("library", "module"), [("zlib", "zlib"), ("zlib-ng", "zlib_ng.zlib_ng")])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_read_with_either(tmp_path: Path, library: str, module: str, method: int) -> None:
    out = io.BytesIO()
    content = bytes(range(256)) * 20_000
    with zipfile.ZipFile(out, "w", method) as bundle:
        bundle.writestr("1.dcm", content)
        crc = bundle.getinfo("1.dcm").CRC
    (tmp_path / "series.zip").write_bytes(out.getvalue())
    command = [sys.executable, "-c", READ_WITH, str(tmp_path / "series.zip"), library]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [module, str(crc)]
