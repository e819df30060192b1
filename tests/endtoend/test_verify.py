"""`bulkdl verify` finds what was done to a mirror behind its back, and `--repair` mends exactly that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import RunningArchive, run, serve
from tests.support.dicom_files import instances, write_folder
from tests.support.mirrors import checksums_of, checksums_on_disk

QUIET = ("--progress", "none", "--json")


@pytest.fixture
def archive(cache: Path, tmp_path: Path) -> Iterator[RunningArchive]:
    with serve(tmp_path / "archive", cache=cache, log=tmp_path / "access.jsonl") as running:
        yield running


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, str]:
    made_up = write_folder(tmp_path / "archive", instances(series=3, per_series=8))
    return checksums_of(made_up)


@pytest.fixture
def mirror(wanted: dict[str, str], archive: RunningArchive, cache: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    run("mirror", "--archive", archive.url, "--everything", "--to", folder, *QUIET, cache=cache)
    assert checksums_on_disk(folder) == wanted
    return folder


def damage(mirror: Path) -> dict[str, str]:
    """Do to some files what disks and people do; the problem that each should be called."""
    files = sorted(mirror.glob("*/**/*.dcm"))
    deleted, cut, altered, one, other = files[0], files[3], files[6], files[9], files[12]
    deleted.unlink()
    cut.write_bytes(cut.read_bytes()[:-10])
    content = bytearray(altered.read_bytes())
    content[-1] ^= 1
    altered.write_bytes(content)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    foreign = files[15].with_name("notes.txt")
    foreign.write_text("not of this mirror")
    expected = {deleted: "missing", cut: "truncated", altered: "altered", one: "altered", other: "altered"}
    expected[foreign] = "foreign"
    return {str(path.relative_to(mirror)): problem for path, problem in expected.items()}


def test_an_untouched_mirror_is_sound(mirror: Path, wanted: dict[str, str], cache: Path) -> None:
    done = run("verify", mirror, *QUIET, cache=cache)
    assert done.code == 0
    assert done.document()["problems"] == []
    assert done.document()["instances"]["checked"] == len(wanted)


def test_exactly_the_damage_is_found_and_mended(
    mirror: Path, wanted: dict[str, str], archive: RunningArchive, cache: Path
) -> None:
    expected = damage(mirror)
    found = run("verify", mirror, *QUIET, cache=cache)
    assert found.code == 1
    assert {entry["path"]: entry["problem"] for entry in found.document()["problems"]} == expected

    before = len(archive.object_requests())
    repaired = run("verify", mirror, "--repair", "--transport", "single", *QUIET, cache=cache)
    assert repaired.document()["repair"]["instances"]["fetched"] == 5
    assert len(archive.object_requests()) - before == 5
    assert repaired.code == 1  # the foreign file is still there, and nobody's to remove

    (foreign,) = [path for path, problem in expected.items() if problem == "foreign"]
    assert (mirror / foreign).read_text() == "not of this mirror"
    (mirror / foreign).unlink()
    assert run("verify", mirror, *QUIET, cache=cache).code == 0
    assert checksums_on_disk(mirror) == wanted


def test_quick_sees_sizes_alone(mirror: Path, cache: Path) -> None:
    expected = damage(mirror)
    found = run("verify", mirror, "--quick", *QUIET, cache=cache).document()["problems"]
    assert {entry["path"] for entry in found} == {
        path for path, problem in expected.items() if problem in {"missing", "truncated", "foreign"}
    }


def test_what_is_damaged_is_kept_aside(mirror: Path, cache: Path) -> None:
    damage(mirror)
    run("verify", mirror, "--repair", *QUIET, cache=cache)
    assert len(list((mirror / ".bulkdl" / "quarantine").glob("*.dcm"))) == 4


def test_a_folder_that_is_no_mirror_is_one_line_and_exit_2(tmp_path: Path, cache: Path) -> None:
    done = run("verify", tmp_path, *QUIET, cache=cache)
    assert done.code == 2
    assert done.err.count("\n") == 1
