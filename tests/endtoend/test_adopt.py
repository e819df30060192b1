"""Folders of other programs become mirrors: only missing instances are downloaded, and no file is lost."""

from __future__ import annotations

import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bulkdl.journal.journal import Journal
from tests.support.commands import RunningArchive, run
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.journals import begin
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

QUIET = ("--progress", "none", "--json")
MISSING = 5  # the last instances, which are in no folder


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[MadeUp]]:
    folder = tmp_path_factory.mktemp("archive")
    return folder, write_folder(folder, instances(series=3, per_series=10))


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def classic(folder: Path, had: list[MadeUp]) -> None:
    """The Retriever's classic folders, with its table and licence."""
    for number, one in enumerate(had):
        place = folder / one.collection / one.patient_id / one.study_uid / one.series_uid
        write(place / f"1-{number:02}.dcm", one.content)
    write(folder / had[0].collection / "LICENSE", b"CC BY 3.0")
    rows = {one.series_uid: f"{one.series_uid},{one.collection},NO,uri,{one.patient_id},a, b,c" for one in had}
    head = "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID"
    write(folder / "metadata.csv", "\r\n".join([head, *rows.values(), ""]).encode())


def descriptive(folder: Path, had: list[MadeUp]) -> None:
    """The Retriever's descriptive folders, which keep no whole UID."""
    for number, one in enumerate(had):
        study, series = f"01-02-2020-NA-{one.study_uid[-5:]}", f"1.000000-NA-{one.series_uid[-5:]}"
        write(folder / one.collection / one.patient_id / study / series / f"1-{number:02}.dcm", one.content)


def series_folders(folder: Path, had: list[MadeUp]) -> None:
    """One folder for each Series, as tcia_utils makes them, and a table that names the Collections."""
    for number, one in enumerate(had):
        write(folder / one.series_uid / f"{number:08}.dcm", one.content)
    rows = "".join(f'"{one.series_uid}","{one.collection}"\n' for one in had)
    write(folder / "series.csv", f"SeriesInstanceUID,Collection\n{rows}".encode())


def series_zips(folder: Path, had: list[MadeUp]) -> None:
    """The zips of tcia_utils, as the archive sent them."""
    series_folders(folder, had)
    for series in {one.series_uid for one in had}:
        with zipfile.ZipFile(folder / f"{series}.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("LICENSE", "CC BY 3.0")
            for path in sorted((folder / series).iterdir()):
                bundle.write(path, f"../{path.name}")
                path.unlink()
        (folder / series).rmdir()


def idc(folder: Path, had: list[MadeUp]) -> None:
    """The folders of idc-index: file names that are not SOP Instance UIDs, below Modality and Series."""
    for number, one in enumerate(had):
        place = folder / one.collection / one.patient_id / one.study_uid / f"CT_{one.series_uid}"
        write(place / f"{number:08x}-0000-4000-8000-000000000000.dcm", one.content)


LAYOUTS = [classic, descriptive, series_folders, series_zips, idc]


@pytest.mark.parametrize("lay_out", LAYOUTS, ids=lambda made: made.__name__)
def test_only_missing_instances_are_downloaded(
    lay_out: Callable[[Path, list[MadeUp]], None],
    made_up: tuple[Path, list[MadeUp]],
    archive: RunningArchive,
    cache: Path,
    tmp_path: Path,
) -> None:
    had = made_up[1][:-MISSING]
    folder, mirror = tmp_path / "other", tmp_path / "mirror"
    lay_out(folder, had)
    before = checksums_on_disk(folder)

    done = run("adopt", folder, "--to", mirror, "--archive", archive.url, *QUIET, cache=cache)
    report = done.document()
    assert (done.code, done.err) == (0, "")
    assert report["instances"] == {"found": len(had), "adopted": len(had), "already": 0, "refused": 0, "not_decoded": 0}
    assert checksums_on_disk(mirror) == checksums_of(had) == journalled_checksums(mirror)
    assert checksums_on_disk(folder) == before
    assert archive.requests() == []

    done = run("mirror", "--archive", archive.url, "--everything", "--yes", "--to", mirror, *QUIET, cache=cache)
    assert done.code == 0
    assert done.document()["instances"]["fetched"] == MISSING
    assert checksums_on_disk(mirror) == checksums_of(made_up[1])
    assert run("verify", mirror, *QUIET, cache=cache).code == 0


def test_resume_downloads_what_adopted_series_lack(
    made_up: tuple[Path, list[MadeUp]], archive: RunningArchive, cache: Path, tmp_path: Path
) -> None:
    classic(tmp_path / "other", made_up[1][:-MISSING])
    run("adopt", tmp_path / "other", "--archive", archive.url, *QUIET, cache=cache)
    done = run("resume", tmp_path / "other", "--transport", "single", *QUIET, cache=cache)
    assert (done.code, done.document()["instances"]["fetched"]) == (0, MISSING)
    assert len(archive.object_requests()) == MISSING
    assert checksums_of(made_up[1]).items() <= checksums_on_disk(tmp_path / "other").items()


def test_a_folder_becomes_a_mirror_in_place_and_keeps_foreign_files(
    made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    classic(tmp_path, made_up[1])
    others = {"metadata.csv", f"{made_up[1][0].collection}/LICENSE"}
    kept = {path: digest for path, digest in checksums_on_disk(tmp_path).items() if path in others}
    report = run("adopt", tmp_path, *QUIET, cache=cache).document()
    assert report["instances"] == {"found": 30, "adopted": 30, "already": 0, "refused": 0, "not_decoded": 0}
    assert checksums_on_disk(tmp_path) == {**checksums_of(made_up[1]), **kept}
    assert report["files"] == {"others": 2}


def test_adopting_again_finds_everything_in_place(
    made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    classic(tmp_path / "other", made_up[1])
    for expected in ((30, 0), (0, 30)):
        report = run("adopt", tmp_path / "other", "--to", tmp_path / "m", *QUIET, cache=cache).document()
        assert (report["instances"]["adopted"], report["instances"]["already"]) == expected
    report = run("adopt", tmp_path / "m", *QUIET, cache=cache).document()
    assert report["instances"] == {"found": 30, "adopted": 0, "already": 30, "refused": 0, "not_decoded": 0}
    assert checksums_on_disk(tmp_path / "m") == checksums_of(made_up[1])


@pytest.mark.parametrize(("by", "links"), [("link", 2), ("copy", 1), ("move", 1)])
def test_files_are_linked_copied_or_moved(
    by: str, links: int, made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    idc(tmp_path / "other", made_up[1])
    run("adopt", tmp_path / "other", "--to", tmp_path / "m", "--by", by, *QUIET, cache=cache)
    assert checksums_on_disk(tmp_path / "m") == checksums_of(made_up[1])
    assert {path.stat().st_nlink for path in (tmp_path / "m").glob("*/**/*.dcm")} == {links}
    assert len(checksums_on_disk(tmp_path / "other")) == (0 if by == "move" else 30)
    assert (tmp_path / "other").is_dir()


def test_invalid_and_contradictory_files_are_named_and_left_in_place(
    made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    one, two, three = made_up[1][:3]
    write(tmp_path / "a" / "whole.dcm", one.content)
    write(tmp_path / "b" / "cut.dcm", two.content[:-7])
    write(tmp_path / "b" / "head only.dcm", bytes(128) + b"DICM" + b"rubbish")
    write(tmp_path / "c" / "copy.dcm", one.content)
    write(tmp_path / "c" / "other.dcm", one.content[:-1] + b"!")
    write(tmp_path / "c" / "notes.txt", b"no DICOM")
    (tmp_path / "c" / "link.dcm").symlink_to(tmp_path / "a" / "whole.dcm")
    with zipfile.ZipFile(tmp_path / "c" / "cut.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("1.dcm", three.content)
    cut = (tmp_path / "c" / "cut.zip").read_bytes()[:-30]
    write(tmp_path / "c" / "cut.zip", cut)
    before = checksums_on_disk(tmp_path)

    mirror = tmp_path / "mirror"
    done = run("adopt", tmp_path, "--to", mirror, "--collection", "MADE-UP", *QUIET, cache=cache)
    report = done.document()
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert {(problem["path"], problem["error"]) for problem in report["problems"]} == {
        ("b/cut.dcm", "unsound"),
        ("b/head only.dcm", "unsound"),
        ("c/other.dcm", "conflict"),
        ("c/cut.zip", "bundle"),
    }
    assert report["instances"] == {"found": 7, "adopted": 2, "already": 1, "refused": 4, "not_decoded": 0}
    assert checksums_on_disk(mirror) == checksums_of([one, three])
    after = {path: digest for path, digest in checksums_on_disk(tmp_path).items() if not path.startswith("mirror/")}
    assert after == before


def test_a_missing_folder_is_one_line_and_exit_2(cache: Path, tmp_path: Path) -> None:
    done = run("adopt", tmp_path / "nowhere", *QUIET, cache=cache)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert not (tmp_path / "nowhere").exists()


# --- journals that are lost -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def complete(server: RunningArchive, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete mirror, of which each test gets a copy."""
    folder = tmp_path_factory.mktemp("complete") / "mirror"
    run("mirror", "--archive", server.url, "--everything", "--yes", "--to", folder, *QUIET, cache=cache)
    return folder


@pytest.fixture
def mirror(complete: Path, tmp_path: Path) -> Path:
    return shutil.copytree(complete, tmp_path / "mirror")


@pytest.mark.parametrize("what_is_left", ["nothing", "the log"])
def test_a_mirror_whose_journal_is_lost_is_adopted_without_downloading(
    what_is_left: str, mirror: Path, made_up: tuple[Path, list[MadeUp]], archive: RunningArchive, cache: Path
) -> None:
    journal = mirror / ".bulkdl" / "journal.sqlite"
    log = journal.with_name("journal.sqlite-wal")
    if what_is_left == "the log":
        with Journal.create_or_open(journal) as opened:
            begin(opened)
            content = log.read_bytes()
        log.write_bytes(content)
    journal.unlink()
    before = len(archive.object_requests())
    done = run("mirror", "--archive", archive.url, "--everything", "--yes", "--to", mirror, *QUIET, cache=cache)
    assert done.code == 0
    assert done.document()["instances"] == {
        "selected": 30, "fetched": 0, "reused": 30, "failed": 0, "quarantined": 0, "not_decoded": 0
    }  # fmt: skip
    assert len(archive.object_requests()) == before
    assert journalled_checksums(mirror) == checksums_of(made_up[1])
    assert is_sound(journal)


def is_sound(journal: Path) -> bool:
    with closing(sqlite3.connect(journal)) as database:
        return bool(database.execute("PRAGMA integrity_check").fetchone() == ("ok",))


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_an_unreadable_journal_is_one_line_and_stays_unchanged_until_a_rebuild(
    damage: str, mirror: Path, made_up: tuple[Path, list[MadeUp]], archive: RunningArchive, cache: Path
) -> None:
    journal = mirror / ".bulkdl" / "journal.sqlite"
    content = {"cut": journal.read_bytes()[:9000], "garbage": b"garbage" * 5000, "empty": b""}[damage]
    journal.write_bytes(content)
    before = len(archive.object_requests())
    selection = ("--archive", archive.url, "--everything", "--yes", "--to", mirror)
    for command in (("mirror", *selection), ("resume", mirror), ("status", mirror), ("verify", mirror)):
        quiet = QUIET if command[0] != "status" else ("--json",)
        done = run(*command, *quiet, cache=cache)
        assert (command[0], done.code, done.err.count("\n")) == (command[0], 2, 1)
        assert "bulkdl adopt --rebuild" in done.err
        assert journal.read_bytes() == content

    done = run("adopt", "--rebuild", mirror, "--archive", archive.url, *QUIET, cache=cache)
    assert (done.code, done.document()["instances"]["adopted"]) == (0, 30)
    (aside,) = journal.parent.glob("unreadable-1.journal.sqlite")
    assert aside.read_bytes() == content
    assert run("mirror", *selection, *QUIET, cache=cache).document()["instances"]["fetched"] == 0
    assert len(archive.object_requests()) == before
    assert journalled_checksums(mirror) == checksums_of(made_up[1])


def test_a_rebuild_finds_damage_inside_a_journal(
    mirror: Path, made_up: tuple[Path, list[MadeUp]], archive: RunningArchive, cache: Path
) -> None:
    journal = mirror / ".bulkdl" / "journal.sqlite"
    content = bytearray(journal.read_bytes())
    for page in range(8, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    journal.write_bytes(content)
    done = run("adopt", "--rebuild", mirror, "--archive", archive.url, *QUIET, cache=cache)
    assert (done.code, done.document()["instances"]["adopted"]) == (0, 30)
    assert journalled_checksums(mirror) == checksums_of(made_up[1])


def test_a_readable_journal_is_never_set_aside(mirror: Path, made_up: tuple[Path, list[MadeUp]], cache: Path) -> None:
    report = run("adopt", "--rebuild", mirror, *QUIET, cache=cache).document()
    assert report["instances"] == {"found": 30, "adopted": 0, "already": 30, "refused": 0, "not_decoded": 0}
    assert not list((mirror / ".bulkdl").glob("unreadable*"))
    assert journalled_checksums(mirror) == checksums_of(made_up[1])
