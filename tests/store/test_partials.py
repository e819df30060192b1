from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import aiofiles
import pytest

from bulkdl.errors import DiskFull, MirrorUnwritable
from bulkdl.runtime.disk import boot_id
from bulkdl.store.partials import KeptPartial, Partials, PartialStream, partial_name


@pytest.fixture
def partials(tmp_path: Path) -> Partials:
    (tmp_path / "partial").mkdir()
    return Partials(tmp_path / "partial")


def names(partials: Partials) -> list[str]:
    return sorted(path.name for path in partials.folder.iterdir())


def test_a_partial_file_is_not_written_through_a_link(
    partials: Partials, tmp_path_factory: pytest.TempPathFactory
) -> None:
    victim = tmp_path_factory.mktemp("outside") / "victim"
    victim.write_text("mine")
    partials.path("x.part").symlink_to(victim)
    with pytest.raises(MirrorUnwritable):
        partials.write("x.part", b"DICM")
    assert victim.read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is of Linux")
async def test_a_stream_to_a_full_disk_is_reported() -> None:
    """A device file that is always full stands for the disk: the error comes from the kernel."""
    stream = PartialStream(Path("/dev/full"), await aiofiles.open("/dev/full", "wb", buffering=0))
    with pytest.raises(DiskFull, match="No space left"):
        await stream.write([b"x" * (1 << 20)])
    await stream.abort(keep=True)


def test_a_partial_file_replaces_that_of_an_earlier_run(partials: Partials) -> None:
    partials.write("x.part", b"longer than the next")
    partials.write("x.part", b"next")
    assert partials.path("x.part").read_bytes() == b"next"


def test_a_partial_name_is_stable_short_and_unique() -> None:
    assert partial_name("1.2", "3") == partial_name("1.2", "3")
    assert len({partial_name("1.2", "3"), partial_name("1", "2.3"), partial_name("1.2", "4")}) == 3
    assert len(partial_name("1." * 32, "2." * 32)) < 40


def test_stale_partial_files_are_removed_except_resumable_ones(partials: Partials) -> None:
    for name in ("a.part", "b.part", "c.part"):
        partials.write(name, b"xy")
    kept = KeptPartial("https://archive.example.org/", '"tag"', 9, 2)
    partials.note("b.part", kept)
    assert partials.discard_stale() == 2
    assert names(partials) == ["b.part", "b.part.json"]
    assert partials.resumable() == {"b.part": kept}


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"source": "x"}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": 3}',
        b'{"source": "x", "validator": "v", "length": 1, "synced_bytes": 2}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": 2, "part_bytes": 1, "written": [1, 2]}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": 2, "part_bytes": 1, "written": [1, 0, 1]}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": 2, "part_bytes": 1, "written": [1]}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": 2, "part_bytes": 1}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": 2, "part_bytes": 2, "written": ["2"]}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": 2, "written": [2]}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": 0}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": "2"}',
    ],
    ids=[
        "empty",
        "cut",
        "list",
        "null",
        "incomplete",
        "beyond the file",
        "beyond the object",
        "beyond a part",
        "part beyond the file",
        "another sum",
        "no parts",
        "wrong type in parts",
        "parts without a size",
        "no bytes",
        "wrong type",
    ],
)
def test_a_partial_file_without_a_valid_note_is_not_resumable(partials: Partials, note: bytes) -> None:
    partials.write("a.part", b"xy")
    (partials.folder / "a.part.json").write_bytes(note)
    assert partials.resumable() == {}
    partials.discard_stale()
    assert names(partials) == []


async def test_a_large_body_streams_to_a_partial_file(partials: Partials) -> None:
    chunk = bytes(range(256)) * 1024
    stream = await partials.open_stream("x.part")
    for _ in range(10):
        await stream.write([chunk])
    await stream.finish()
    assert stream.path.read_bytes() == chunk * 10
    assert partials.size("x.part") == len(chunk) * 10


def test_a_file_in_parts_is_resumable_with_gaps(partials: Partials) -> None:
    partials.write("a.part", b"xy.z")
    kept = KeptPartial("x", "v", 9, 3, part_bytes=3, written=(2, 1, 0))
    partials.note("a.part", kept)
    assert partials.resumable() == {"a.part": kept}


@pytest.mark.parametrize(("boot", "valid"), [(boot_id(), (2, 2, 0)), ("of another start", (2, 1, 0)), ("", (2, 1, 0))])
def test_what_was_written_and_not_synced_is_valid_until_the_system_is_restarted(
    partials: Partials, boot: str, valid: tuple[int, ...]
) -> None:
    partials.write("a.part", b"xy.z.")
    kept = KeptPartial("x", "v", 9, 3, part_bytes=3, written=(2, 1, 0))
    partials.note("a.part", replace(kept, arrived=(2, 2, 0), boot=boot))
    assert partials.resumable() == {"a.part": replace(kept, written=valid, synced_bytes=sum(valid))}


def test_what_was_only_written_is_resumable_too(partials: Partials) -> None:
    partials.write("a.part", b"xy")
    partials.note("a.part", KeptPartial("x", "v", 9, 0, part_bytes=3, arrived=(2,), boot=boot_id()))
    assert partials.resumable() == {"a.part": KeptPartial("x", "v", 9, 2, part_bytes=3, written=(2,))}
    partials.note("a.part", KeptPartial("x", "v", 9, 0, part_bytes=3, arrived=(3,), boot=boot_id()))
    assert partials.resumable() == {}


async def test_tasks_write_one_file_at_their_positions(partials: Partials) -> None:
    partials.write("x.part", b"0123456789")
    stream = await partials.open_stream("x.part", keep_all=True)
    await asyncio.gather(stream.write_at(8, [b"A", b"B"]), stream.write_at(12, [b"C"]), stream.write_at(0, [b"D"]))
    await stream.finish()
    assert stream.path.read_bytes() == b"D1234567AB\0\0C"


async def test_a_cut_body_is_resumed_where_it_stopped(partials: Partials) -> None:
    stream = await partials.open_stream("x.part")
    await stream.write([b"0123456789"])
    await stream.abort(keep=True)
    assert partials.size("x.part") == 10
    stream = await partials.open_stream("x.part", keep_bytes=8)
    await stream.write([b"A"])
    await stream.finish()
    assert stream.path.read_bytes() == b"01234567A"


async def test_a_stream_from_the_start_replaces_an_earlier_one(partials: Partials) -> None:
    partials.write("x.part", b"something long")
    stream = await partials.open_stream("x.part")
    await stream.write([b"new"])
    await stream.finish()
    assert stream.path.read_bytes() == b"new"


async def test_an_aborted_stream_leaves_nothing(partials: Partials) -> None:
    stream = await partials.open_stream("x.part")
    await stream.write([b"x" * (1 << 21)])
    await stream.abort()
    assert partials.size("x.part") is None
    assert names(partials) == []


async def test_resuming_after_more_bytes_than_exist_fails(partials: Partials) -> None:
    partials.write("x.part", b"123")
    with pytest.raises(MirrorUnwritable, match="fewer than 4 bytes"):
        await partials.open_stream("x.part", keep_bytes=4)
