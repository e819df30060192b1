"""`bulkdl verify` finds all damage to a mirror, and `--repair` repairs exactly that."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.commands import RunningArchive, run, serve, start
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.held_mirrors import make_mirror
from tests.support.mirrors import checksums_of, checksums_on_disk

QUIET = ("--progress", "none", "--json")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[MadeUp]]:
    folder = tmp_path_factory.mktemp("archive")
    return folder, write_folder(folder, instances(series=3, per_series=8))


@pytest.fixture
def wanted(made_up: tuple[Path, list[MadeUp]]) -> dict[str, str]:
    return checksums_of(made_up[1])


@pytest.fixture(scope="module")
def complete(server: RunningArchive, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete mirror, of which each test gets a copy."""
    folder = tmp_path_factory.mktemp("complete") / "mirror"
    run("mirror", "--archive", server.url, "--everything", "--yes", "--to", folder, *QUIET, cache=cache)
    return folder


@pytest.fixture
def mirror(complete: Path, wanted: dict[str, str], tmp_path: Path) -> Path:
    folder = shutil.copytree(complete, tmp_path / "mirror")
    assert checksums_on_disk(folder) == wanted
    return folder


def damage(mirror: Path) -> dict[str, str]:
    """Damage some files, and return the expected problem of each."""
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


def test_an_unchanged_mirror_has_no_problem(mirror: Path, wanted: dict[str, str], cache: Path) -> None:
    done = run("verify", mirror, *QUIET, cache=cache)
    assert done.code == 0
    assert done.document()["problems"] == []
    assert done.document()["instances"]["checked"] == len(wanted)


def test_exactly_the_damage_is_found_and_repaired(
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
    assert repaired.code == 1  # the foreign file is not removed

    (foreign,) = [path for path, problem in expected.items() if problem == "foreign"]
    assert (mirror / foreign).read_text() == "not of this mirror"
    (mirror / foreign).unlink()
    assert run("verify", mirror, *QUIET, cache=cache).code == 0
    assert checksums_on_disk(mirror) == wanted


def test_damage_among_many_files_is_found_and_repaired_with_one_request_each(cache: Path, tmp_path: Path) -> None:
    """Tried with 10,000 files, 203 of them damaged: it takes seconds."""
    made_up = write_folder(tmp_path / "archive", instances(series=12, per_series=100))
    mirror = tmp_path / "mirror"
    with serve(tmp_path / "archive", cache=cache, log=tmp_path / "access.jsonl") as archive:
        run("mirror", "--archive", archive.url, "--everything", "--yes", "--to", mirror, *QUIET, cache=cache)
        expected = {}
        for number, path in enumerate(sorted(mirror.glob("*/**/*.dcm"))[::29]):
            content = bytearray(path.read_bytes())
            content[number * 7 % len(content)] ^= 1
            damaged = {0: None, 1: content[: -number - 1], 2: content}[number % 3]
            path.unlink() if damaged is None else path.write_bytes(damaged)
            expected[str(path.relative_to(mirror))] = ("missing", "truncated", "altered")[number % 3]
        before = len(archive.object_requests())
        done = run("verify", mirror, "--repair", "--transport", "single", *QUIET, cache=cache)
        assert len(archive.object_requests()) - before == len(expected)
    assert done.code == 0
    assert {problem["path"]: problem["problem"] for problem in done.document()["problems"]} == expected
    assert checksums_on_disk(mirror) == checksums_of(made_up)


def test_quick_compares_sizes_only(mirror: Path, cache: Path) -> None:
    expected = damage(mirror)
    found = run("verify", mirror, "--quick", *QUIET, cache=cache).document()["problems"]
    assert {entry["path"] for entry in found} == {
        path for path, problem in expected.items() if problem in {"missing", "truncated", "foreign"}
    }


def test_damaged_files_are_quarantined(mirror: Path, cache: Path) -> None:
    damage(mirror)
    run("verify", mirror, "--repair", *QUIET, cache=cache)
    assert len(list((mirror / ".bulkdl" / "quarantine").glob("*.dcm"))) == 4


def test_a_folder_that_is_not_a_mirror_is_one_line_and_exit_2(tmp_path: Path, cache: Path) -> None:
    done = run("verify", tmp_path, *QUIET, cache=cache)
    assert done.code == 2
    assert done.err.count("\n") == 1


# --- compared with the archive ----------------------------------------------------------------------------------------


def test_an_archive_with_the_same_instances_has_no_problem(mirror: Path, cache: Path) -> None:
    done = run("verify", mirror, "--remote", *QUIET, cache=cache)
    assert (done.code, done.document()["problems"]) == (0, [])
    assert done.document()["compared"] == {"series": 3}


def test_a_series_that_differs_from_the_archive_is_named_and_nothing_is_changed(
    mirror: Path, wanted: dict[str, str], cache: Path, tmp_path: Path
) -> None:
    files = write_folder(tmp_path / "other", instances(series=3, per_series=8))
    less, altered = files[0], files[8]
    (tmp_path / "other" / less.path).unlink()
    (tmp_path / "other" / altered.path).write_bytes(altered.content[:-2] + b"!!")
    with serve(tmp_path / "other", cache=cache, log=tmp_path / "other.jsonl") as other:
        done = run("verify", mirror, "--remote", "--quick", "--archive", other.url, *QUIET, cache=cache)
        assert other.object_requests() == []
    problems = {problem["series"]: problem for problem in done.document()["problems"]}
    assert done.code == 1
    assert "differs" in {problem["problem"] for problem in problems.values()}
    assert less.series_uid in problems
    assert "8 instances here, 7 there" in problems[less.series_uid]["message"]
    assert problems[less.series_uid]["path"].endswith(less.series_uid)
    assert checksums_on_disk(mirror) == wanted
    assert done.err.count("\n") == 1


def test_one_request_verifies_a_series_if_the_archive_has_its_md5(
    mirror: Path, archive: RunningArchive, cache: Path
) -> None:
    before = len(archive.requests())
    done = run("verify", mirror, "--remote", "--archive", f"nbia-v4+{archive.url}", *QUIET, cache=cache)
    assert (done.code, done.document()["problems"]) == (0, [])
    assert [asked.endpoint for asked in archive.requests()[before:]] == ["getMD5Hierarchy"] * 3


def test_different_bytes_are_found_by_the_md5_of_the_series(mirror: Path, cache: Path, tmp_path: Path) -> None:
    files = write_folder(tmp_path / "other", instances(series=3, per_series=8))
    (tmp_path / "other" / files[8].path).write_bytes(files[8].content[:-2] + b"!!")
    with serve(tmp_path / "other", cache=cache, log=tmp_path / "other.jsonl") as other:
        options = ("--remote", "--quick", "--archive", f"nbia-v4+{other.url}")
        done = run("verify", mirror, *options, *QUIET, cache=cache)
    (problem,) = done.document()["problems"]
    assert (done.code, problem["series"], problem["problem"]) == (1, files[8].series_uid, "differs")
    assert "MD5 of the series" in problem["message"]


def test_an_unreachable_archive_is_exit_4(mirror: Path, cache: Path) -> None:
    url = "http://127.0.0.1:9/nbia-api/services"
    options = ("--remote", "--quick", "--archive", url, "--give-up-after", "1s")
    done = run("verify", mirror, *options, *QUIET, cache=cache)
    assert (done.code, done.err.count("\n")) == (4, 1)


# --- stopping and continuing ------------------------------------------------------------------------------------------


def test_ctrl_c_ends_verify_with_130_and_the_next_one_continues(tmp_path: Path, cache: Path) -> None:
    mirror = tmp_path / "mirror"
    files = make_mirror(mirror, series=2, per_series=30, hole_bytes=24 << 20)
    with start(["verify", mirror, "--progress", "json"], cache=cache) as process:
        assert process.stderr is not None
        while not json.loads(process.stderr.readline())["checked"]:
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert f"to continue: bulkdl verify {mirror}" in err
    assert out == ""
    done = run("verify", mirror, "--progress", "json", "--json", cache=cache)
    assert "continuing the verification" in done.err
    assert (done.code, done.document()["instances"]["checked"]) == (0, len(files))
