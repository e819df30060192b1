"""The zip of a Series: names, checksums, and its end if files have changed."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from bulkdl.server.catalogue import ServedFile
from bulkdl.server.nbia.bundles import bundle, new_names, sequential_names


def served(path: Path, content: bytes = b"", *, acquisition: int | None = None) -> ServedFile:
    path.write_bytes(content)
    status = path.stat()
    return ServedFile(1, path, None, "1.2", "1.2.3", status.st_size, status.st_mtime_ns, None, acquisition, None)


def md5_of(file: ServedFile) -> bytes:
    return hashlib.md5(file.path.read_bytes(), usedforsecurity=False).digest()


@pytest.mark.parametrize(
    ("acquisitions", "names"),
    [
        ([], []),
        ([1], ["1-1.dcm"]),
        ([None, None], ["1-1.dcm", "1-2.dcm"]),
        ([4, 4, 7, 4], ["1-1.dcm", "1-2.dcm", "2-1.dcm", "3-1.dcm"]),
        ([1] * 11, [f"1-{number:02}.dcm" for number in range(1, 12)]),
        (list(range(10)), [f"{number:02}-1.dcm" for number in range(1, 11)]),
    ],
    ids=["none", "one", "without-numbers", "acquisitions", "many-instances", "many-acquisitions"],
)
def test_new_names_count_acquisitions_and_instances(
    tmp_path: Path, acquisitions: list[int | None], names: list[str]
) -> None:
    assert new_names([served(tmp_path / "x", acquisition=number) for number in acquisitions]) == names


def test_sequential_names_have_eight_digits(tmp_path: Path) -> None:
    assert sequential_names([served(tmp_path / "x")] * 2) == ["00000001.dcm", "00000002.dcm"]


def test_holds_license_files_and_checksums_in_that_order(tmp_path: Path) -> None:
    contents = [b"first", b"x" * 1_000_000]
    files = [served(tmp_path / str(number), content) for number, content in enumerate(contents)]
    pieces = list(bundle(files, ["a", "b"], license_text="terms", md5_of=md5_of))
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.namelist() == ["LICENSE", "a", "b", "md5hashes.csv"]
        assert archive.testzip() is None
        assert [archive.read("LICENSE"), archive.read("a"), archive.read("b")] == [b"terms", *contents]
        lines = archive.read("md5hashes.csv").decode()
        assert lines == f"Filename,MD5Hash\na,{md5_of(files[0]).hex()}\nb,{md5_of(files[1]).hex()}\n"
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_DEFLATED}
        assert all(entry.flag_bits & 0x08 for entry in archive.infolist())  # lengths come behind the data


def test_no_piece_holds_a_whole_instance(tmp_path: Path) -> None:
    """Memory does not grow with the size of an instance."""
    noise = b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(60_000))
    pieces = list(bundle([served(tmp_path / "x", noise)], ["x"]))
    assert len(pieces) > 4
    assert max(map(len, pieces)) < 700_000


@pytest.mark.parametrize("change", ["gone", "longer", "folder"])
def test_ends_well_formed_before_a_file_that_changed(tmp_path: Path, change: str) -> None:
    """The real server does this, so clients must count the instances."""
    files = [served(tmp_path / str(number), b"content") for number in range(3)]
    files[1].path.unlink()
    if change == "longer":
        files[1].path.write_bytes(b"content and more")
    elif change == "folder":
        files[1].path.mkdir()
    failures: list[str] = []
    pieces = bundle(files, ["a", "b", "c"], md5_of=md5_of, on_failure=failures.append)
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.namelist() == ["a"]
    assert len(failures) == 1
