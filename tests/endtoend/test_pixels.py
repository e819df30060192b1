"""`--validate pixels`: what was not decoded is counted, and a missing extra is refused before the first request."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.uid import MPEG2MPML, JPEGExtended12Bit

from tests.support.commands import RunningArchive, run, serve, with_site
from tests.support.dicom_samples import encapsulated, encoded, image, jpeg

QUIET = ("--progress", "none")


def _uids(number: int) -> dict[str, object]:
    return {"SOPInstanceUID": f"1.2.3.{number}", "SeriesInstanceUID": f"1.2.4.{number // 10}"}


FILES = {
    "native.dcm": encoded(image(**_uids(10))),
    "extended.dcm": encapsulated([jpeg(b"12 bits")], JPEGExtended12Bit, BitsStored=12, **_uids(11)),
    "video.dcm": encapsulated([b"many frames"], MPEG2MPML, NumberOfFrames=9, **_uids(20)),
}
NOT_DECODED = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def archive(folder: Path, cache: Path, tmp_path: Path) -> Iterator[RunningArchive]:
    with serve(folder, cache=cache, log=tmp_path / "access.jsonl") as running:
        yield running


def test_what_was_not_decoded_is_counted_by_every_verb(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "m"
    asked = (
        "mirror",
        "--archive",
        archive.url,
        "--everything",
        "--yes",
        "--to",
        mirror,
        "--validate",
        "pixels",
        *QUIET,
    )
    done = run(*asked, cache=cache)
    assert (done.code, done.err) == (0, "")
    assert "2 instances not decoded: no installed decoder supports their pixels" in done.out
    for again in (asked, ("status", mirror), ("verify", mirror, *QUIET)):
        report = run(*again, "--json", cache=cache).document()
        assert report["instances"]["not_decoded"] == NOT_DECODED, again[0]
        assert "2 instances not decoded" in run(*again, cache=cache).out
    with closing(sqlite3.connect(mirror / ".bulkdl" / "journal.sqlite")) as journal:
        assert journal.execute("SELECT count(*) FROM v_not_decoded").fetchone() == (NOT_DECODED,)


def test_what_was_not_to_be_decoded_is_not_counted(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    done = run(
        "mirror",
        "--archive",
        archive.url,
        "--everything",
        "--yes",
        "--to",
        tmp_path / "m",
        *QUIET,
        "--json",
        cache=cache,
    )
    assert (done.code, done.document()["instances"]["not_decoded"]) == (0, 0)


def test_a_selection_counts_its_own_instances(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    where = ("--archive", archive.url, "--to", tmp_path / "m", "--validate", "pixels", *QUIET, "--json")
    counts = [
        run("mirror", "--series", series, *where, cache=cache).document()["instances"]["not_decoded"]
        for series in ("1.2.4.1", "1.2.4.2")
    ]
    assert counts == [1, 1]


def test_adopted_files_are_decoded_in_another_process(folder: Path, cache: Path, tmp_path: Path) -> None:
    done = run("adopt", folder, "--to", tmp_path / "m", "--validate", "pixels", *QUIET, "--json", cache=cache)
    instances = done.document()["instances"]
    assert (done.code, instances["adopted"], instances["not_decoded"]) == (0, 3, NOT_DECODED)


@pytest.mark.parametrize("verb", ["mirror", "adopt"])
def test_a_missing_extra_is_refused_before_the_first_request(
    verb: str, archive: RunningArchive, folder: Path, cache: Path, tmp_path: Path
) -> None:
    source = ("--archive", archive.url, "--everything", "--yes") if verb == "mirror" else (folder,)
    done = run(
        verb,
        *(*source, "--to", tmp_path / "m", "--validate", "pixels", *QUIET),
        cache=cache,
        more=with_site(MISSING_MODULES="gdcm libjpeg openjpeg"),
    )
    assert done.code == 2
    assert "--validate pixels needs gdcm and openjpeg, not installed: pip install 'bulkdl[pixels]'" in done.err
    assert archive.requests() == []
    assert not list((tmp_path / "m").rglob("*.dcm"))
