from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiofiles
import pytest

from bulkdl.errors import DiskFull, MirrorUnwritable
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import KeptPartial, MirrorFiles, PartialStream, partial_name

as_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere, whatever the permissions say"
)


@pytest.fixture
def files(tmp_path: Path) -> MirrorFiles:
    files = MirrorFiles(tmp_path / "mirror")
    files.prepare()
    return files


def put(files: MirrorFiles, path: str, data: bytes = b"DICM") -> None:
    job = CommitJob(path, "put.part", data)
    commit(files, [job])
    assert job.error is None


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- preparing --------------------------------------------------------------------------------------------------------


def test_prepare_makes_the_mirror_and_may_be_repeated(tmp_path: Path) -> None:
    for _ in range(2):
        MirrorFiles(tmp_path / "a" / "b").prepare()
    assert below(tmp_path) == ["a", "a/b", "a/b/.bulkdl", "a/b/.bulkdl/partial", "a/b/.bulkdl/quarantine"]


def test_a_private_mirror_is_for_its_owner_alone(tmp_path: Path) -> None:
    files = MirrorFiles(tmp_path / "mirror", private=True)
    files.prepare()
    put(files, "C/P/i.dcm")
    files.quarantine(b"bad", sop_uid="1.2", details={})
    for path in (files.root, *files.root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@as_root
def test_a_folder_that_may_not_be_written_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MirrorUnwritable, match="Permission denied"):
            MirrorFiles(tmp_path / "mirror").prepare()
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_mirror_is_named(tmp_path: Path) -> None:
    (tmp_path / "mirror").write_text("")
    with pytest.raises(MirrorUnwritable, match="mirror"):
        MirrorFiles(tmp_path / "mirror").prepare()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is of Linux")
async def test_a_stream_onto_a_full_disk_says_so() -> None:
    """The device file that is always full stands for the disk: the error comes from the kernel."""
    stream = PartialStream(Path("/dev/full"), await aiofiles.open("/dev/full", "wb", buffering=0), None)
    with pytest.raises(DiskFull, match="No space left"):
        await stream.write([b"x" * (1 << 20)])
    await stream.abort(keep=True)


# --- partial and committed --------------------------------------------------------------------------------------------


def test_a_partial_file_replaces_what_an_earlier_run_left(files: MirrorFiles) -> None:
    files.write_partial("x.part", b"longer than the next")
    assert files.write_partial("x.part", b"next").read_bytes() == b"next"


def test_a_partial_name_is_stable_short_and_its_own() -> None:
    assert partial_name("1.2", "3") == partial_name("1.2", "3")
    assert len({partial_name("1.2", "3"), partial_name("1", "2.3"), partial_name("1.2", "4")}) == 3
    assert len(partial_name("1." * 32, "2." * 32)) < 40


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../../x", "a//x", "", ".", ".bulkdl/journal.sqlite", "a\\..\\x", "a\0"]
)
def test_nothing_is_written_out_of_the_mirror_or_over_our_own_files(files: MirrorFiles, path: str) -> None:
    with pytest.raises(MirrorUnwritable, match="is no place"):
        files.absolute(path)


def test_a_link_in_the_place_of_a_folder_is_not_written_through(files: MirrorFiles, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (files.root / "C").symlink_to(tmp_path / "outside")
    with pytest.raises(MirrorUnwritable, match="is a link or a file"):
        files.ensure_folder("C/P")
    assert below(tmp_path / "outside") == []


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(files: MirrorFiles, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    files.ensure_folder("C")
    (files.root / "C" / "i.dcm").symlink_to(victim)
    (files.partial_folder / "x.part").symlink_to(victim)
    with pytest.raises(MirrorUnwritable):
        files.write_partial("x.part", b"DICM")
    put(files, "C/i.dcm")
    assert victim.read_text() == "mine"
    assert not (files.root / "C" / "i.dcm").is_symlink()


def test_many_threads_may_make_the_same_folders(files: MirrorFiles) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(files.ensure_folder, [f"C/P{n % 4}/S/{n}" for n in range(64)]))
    assert len(below(files.root / "C")) == 4 + 4 + 64


def test_stale_partial_files_are_removed_but_for_those_to_resume(files: MirrorFiles) -> None:
    for name in ("a.part", "b.part", "c.part"):
        files.write_partial(name, b"xy")
    kept = KeptPartial("https://archive.example.org/", '"tag"', 9, 2)
    files.note_partial("b.part", kept)
    assert files.discard_stale_partials() == 2
    assert below(files.partial_folder) == ["b.part", "b.part.json"]
    assert files.kept_partials() == {"b.part": kept}


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
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": 0}',
        b'{"source": "x", "validator": "v", "length": 9, "synced_bytes": "2"}',
    ],
    ids=["empty", "cut", "list", "null", "short", "more than there is", "more than all", "nothing", "mistyped"],
)
def test_a_partial_file_whose_note_does_not_fit_is_no_beginning(files: MirrorFiles, note: bytes) -> None:
    files.write_partial("a.part", b"xy")
    (files.partial_folder / "a.part.json").write_bytes(note)
    assert files.kept_partials() == {}
    files.discard_stale_partials()
    assert below(files.partial_folder) == []


def test_existing_lists_files_and_sizes(files: MirrorFiles) -> None:
    put(files, "C/a.dcm", b"12345")
    files.ensure_folder("C/folder")
    (files.root / "C" / "link").symlink_to(files.root / "C" / "a.dcm")
    assert files.existing("C") == {"a.dcm": 5}
    assert files.existing("nowhere") == {}
    assert files.existing("C/a.dcm") == {}


def test_a_folder_that_is_merely_found_is_synced_too(files: MirrorFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed may have made it, and not lived to sync it."""
    (files.root / "C").mkdir()
    count = 0
    fsync = os.fsync

    def counting_fsync(descriptor: int) -> None:
        nonlocal count
        count += 1
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counting_fsync)
    files.ensure_folder("C")
    assert count == 1


# --- streams ----------------------------------------------------------------------------------------------------------


async def test_a_large_body_streams_to_a_partial_file(files: MirrorFiles) -> None:
    chunk = bytes(range(256)) * 1024
    stream = await files.open_partial_stream("x.part")
    for _ in range(10):
        await stream.write([chunk])
    await stream.finish()
    assert stream.path.read_bytes() == chunk * 10
    assert files.partial_size("x.part") == len(chunk) * 10


async def test_a_body_that_was_cut_is_resumed_where_it_stopped(files: MirrorFiles) -> None:
    stream = await files.open_partial_stream("x.part")
    await stream.write([b"0123456789"])
    await stream.abort(keep=True)
    assert files.partial_size("x.part") == 10
    stream = await files.open_partial_stream("x.part", keep_bytes=8)
    await stream.write([b"A"])
    await stream.finish()
    assert stream.path.read_bytes() == b"01234567A"


async def test_a_stream_from_the_start_forgets_what_was_there(files: MirrorFiles) -> None:
    files.write_partial("x.part", b"something long")
    stream = await files.open_partial_stream("x.part")
    await stream.write([b"new"])
    await stream.finish()
    assert stream.path.read_bytes() == b"new"


async def test_an_aborted_stream_leaves_nothing(files: MirrorFiles) -> None:
    stream = await files.open_partial_stream("x.part")
    await stream.write([b"x" * (1 << 21)])
    await stream.abort()
    assert files.partial_size("x.part") is None
    assert below(files.partial_folder) == []


async def test_resuming_after_more_than_there_is_fails(files: MirrorFiles) -> None:
    files.write_partial("x.part", b"123")
    with pytest.raises(MirrorUnwritable, match="fewer than 4 bytes"):
        await files.open_partial_stream("x.part", keep_bytes=4)


# --- quarantine -------------------------------------------------------------------------------------------------------


def test_unsound_bytes_are_kept_with_what_is_known_of_them(files: MirrorFiles) -> None:
    moved = files.quarantine(
        files.write_partial("x.part", b"bad"), sop_uid="1.2.3", details={"asked": "1.2.3", "näme": 1}
    )
    written = files.quarantine(b"worse", sop_uid="1.2.3", details={"path": Path("p")})
    assert (moved.read_bytes(), written.read_bytes()) == (b"bad", b"worse")
    assert json.loads(moved.with_suffix(".json").read_text(encoding="utf-8")) == {"asked": "1.2.3", "näme": 1}
    assert json.loads(written.with_suffix(".json").read_text(encoding="utf-8")) == {"path": "p"}
    assert below(files.partial_folder) == []


def test_only_the_last_few_of_one_instance_are_kept(files: MirrorFiles) -> None:
    for n in range(5):
        path = files.quarantine(b"%d" % n, sop_uid="1.2", details={"n": n})
        os.utime(path, ns=(n, n))  # clocks of file systems may be too coarse to tell them apart
    files.quarantine(b"other", sop_uid="1.2.3", details={})
    kept = sorted(path.read_bytes() for path in files.quarantine_folder.glob("1.2.?.dcm"))
    assert kept == [b"2", b"3", b"4"]
    assert len(below(files.quarantine_folder)) == 2 * (3 + 1)


def test_a_hostile_uid_stays_in_the_quarantine(files: MirrorFiles) -> None:
    path = files.quarantine(b"bad", sop_uid="..", details={})
    assert path == files.quarantine_folder / "__.1.dcm"
