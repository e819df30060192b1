"""The main task as a user runs it: the command and an embedded archive in processes, files on the disk."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import RunningArchive, run, serve, start
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

QUIET = ("--progress", "none", "--json")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[MadeUp]]:
    folder = tmp_path_factory.mktemp("archive")
    files = write_folder(folder, instances(series=6, per_series=20, collection="FIRST"))
    files += write_folder(folder, instances(series=2, per_series=5, collection="SECOND"))
    return folder, files


@pytest.fixture
def interrupted_archive(made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path) -> Iterator[RunningArchive]:
    """An archive for one test, whose last requests are broken off: their log lines may come late."""
    with serve(made_up[0], cache=cache, log=tmp_path / "access.jsonl") as running:
        yield running


def ask(archive: RunningArchive, question: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"{archive.url.rstrip('/')}/v1/{question}") as answer:  # noqa: S310 - our own server
        content = answer.read()
    return json.loads(content) if content else []


@pytest.mark.parametrize("transport", ["single", "zip", "auto"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_collection_is_mirrored_byte_for_byte(
    archive: RunningArchive,
    made_up: tuple[Path, list[MadeUp]],
    cache: Path,
    tmp_path: Path,
    transport: str,
    workers: str,
) -> None:
    mirror = tmp_path / "mirror"
    options = ("--transport", transport, "--workers", workers)
    done = run(
        "mirror", "--archive", archive.url, "--collection", "FIRST", "--to", mirror, *options, *QUIET, cache=cache
    )
    wanted = checksums_of([one for one in made_up[1] if one.collection == "FIRST"])
    assert (done.code, done.err) == (0, "")
    assert checksums_on_disk(mirror) == wanted
    assert journalled_checksums(mirror) == wanted


def test_the_report_agrees_with_the_archives_own_log(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    done = run("mirror", "--archive", archive.url, "--everything", "--yes", "--to", mirror, *QUIET, cache=cache)
    report = done.document()
    assert report["requests"] == len(archive.requests())
    assert report["instances"] == {
        "selected": 130,
        "fetched": 130,
        "reused": 0,
        "failed": 0,
        "quarantined": 0,
        "not_decoded": 0,
    }
    assert report["series"] == {"selected": 8, "complete": 8, "failed": 0}
    assert report["outcome"] == "complete"
    assert report["retries"] == 0
    assert report["bytes"]["mirror"] == sum(path.stat().st_size for path in mirror.glob("*/**/*.dcm"))


def test_resolving_sends_one_request_for_a_collection_and_one_for_each_series(
    archive: RunningArchive, cache: Path, tmp_path: Path
) -> None:
    run("mirror", "--archive", archive.url, "--collection", "FIRST", "--to", tmp_path / "m", *QUIET, cache=cache)
    endpoints = [asked.endpoint for asked in archive.requests()]
    assert endpoints.count("getSeries") == 1
    assert endpoints.count("getSOPInstanceUIDs") == 6


def test_a_second_run_sends_one_request_and_downloads_nothing(
    archive: RunningArchive, cache: Path, tmp_path: Path
) -> None:
    command = ("mirror", "--archive", archive.url, "--collection", "FIRST", "--to", tmp_path / "m", *QUIET)
    run(*command, cache=cache)
    before = len(archive.requests())
    report = run(*command, cache=cache).document()
    assert [asked.endpoint for asked in archive.requests()[before:]] == ["getSeries"]
    assert report["instances"] == {
        "selected": 120,
        "fetched": 0,
        "reused": 120,
        "failed": 0,
        "quarantined": 0,
        "not_decoded": 0,
    }


def test_resuming_a_complete_mirror_sends_no_request(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "m"
    run("mirror", "--archive", archive.url, "--collection", "SECOND", "--to", mirror, *QUIET, cache=cache)
    before = len(archive.requests())
    done = run("resume", mirror, *QUIET, cache=cache)
    assert done.code == 0
    assert len(archive.requests()) == before
    assert done.document()["instances"]["reused"] == 10


def test_every_way_of_selecting_finds_its_instances(
    archive: RunningArchive, made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    one = made_up[1][0]
    same = [other for other in made_up[1] if other.collection == "FIRST"]
    manifest = tmp_path / "list.txt"
    manifest.write_text(f"{one.series_uid}\n")
    cases = {
        "patient": (("--patient", one.patient_id), [m for m in made_up[1] if m.patient_id == one.patient_id]),
        "patient of a collection": (
            ("--patient", one.patient_id, "--collection", "FIRST"),
            [m for m in same if m.patient_id == one.patient_id],
        ),
        "study": (("--study", one.study_uid), [m for m in same if m.study_uid == one.study_uid]),
        "series": (("--series", one.series_uid), [m for m in same if m.series_uid == one.series_uid]),
        "modality": (("--modality", "CT"), made_up[1]),
        "manifest": (("--manifest", manifest), [m for m in same if m.series_uid == one.series_uid]),
        "two collections": (("--collection", "first", "--collection", "second"), made_up[1]),
    }
    for name, (options, wanted) in cases.items():
        mirror = tmp_path / name
        done = run("mirror", "--archive", archive.url, *options, "--to", mirror, *QUIET, cache=cache)
        assert (name, done.code, done.err) == (name, 0, "")
        assert (name, checksums_on_disk(mirror)) == (name, checksums_of(wanted))


def test_a_manifest_may_come_from_standard_input(
    archive: RunningArchive, made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    text = f"ListOfSeriesToDownload=\n{made_up[1][0].series_uid}\n"
    command = ("mirror", "--archive", archive.url, "--manifest", "-", "--to", tmp_path / "m", *QUIET)
    assert run(*command, cache=cache, stdin=text).document()["instances"]["fetched"] == 20


def test_a_series_missing_in_the_archive_is_named_and_the_rest_is_downloaded(
    archive: RunningArchive, made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    known = made_up[1][0].series_uid
    options = ("--series", known, "--series", "1.2.3.4")
    done = run("mirror", "--archive", archive.url, *options, "--to", tmp_path / "m", *QUIET, cache=cache)
    report = done.document()
    assert done.code == 1
    assert [(failure["series"], failure["error"]) for failure in report["failures"]] == [("1.2.3.4", "not-found")]
    assert report["series"] == {"selected": 2, "complete": 1, "failed": 1}
    assert report["instances"]["fetched"] == 20


def test_a_misspelt_collection_is_one_line_with_a_suggestion(
    archive: RunningArchive, cache: Path, tmp_path: Path
) -> None:
    done = run("mirror", "--archive", archive.url, "--collection", "FRIST", "--to", tmp_path / "m", *QUIET, cache=cache)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "FIRST" in done.err


def test_an_archive_that_cannot_be_reached_is_given_up_with_exit_4(cache: Path, tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/nbia-api/services"
    options = ("--collection", "X", "--to", tmp_path / "m", "--give-up-after", "1s", *QUIET)
    done = run("mirror", "--archive", url, *options, cache=cache)
    assert done.code == 4
    assert done.err.count("\n") == 1


def test_a_mirror_is_served_again_and_mirrored_from_there(
    archive: RunningArchive, made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    run("mirror", "--archive", archive.url, "--everything", "--yes", "--to", tmp_path / "first", *QUIET, cache=cache)
    with serve(tmp_path / "first", cache=cache, log=tmp_path / "second.jsonl") as second:
        assert ask(second, "getSeries") == ask(second, "getSeries?Collection=") or ask(second, "getSeries")
        done = run(
            "mirror", "--archive", second.url, "--everything", "--yes", "--to", tmp_path / "copy", *QUIET, cache=cache
        )
    assert done.code == 0
    assert checksums_on_disk(tmp_path / "copy") == checksums_of(made_up[1])


def test_a_second_run_on_a_mirror_is_refused(interrupted_archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "m"
    slow = ("--rate-limit", "1kB/s", "--concurrency", "1")  # two minutes for the whole mirror
    command = ("mirror", "--archive", interrupted_archive.url, "--everything", "--yes", "--to", mirror)
    with start([*command, *slow, "--progress", "json"], cache=cache) as first:
        assert first.stderr is not None
        assert "run-started" in first.stderr.readline()
        second = run(*command, *QUIET, cache=cache)
        status = run("status", mirror, "--json", cache=cache)
        first.send_signal(signal.SIGTERM)
        first.communicate()
    assert second.code == 6
    assert str(first.pid) in second.err
    assert status.code == 0
    assert first.returncode == 130


def test_an_interrupted_run_says_how_to_resume_and_resume_completes_it(
    interrupted_archive: RunningArchive, made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    mirror = tmp_path / "m"
    slow = ("--rate-limit", "20kB/s", "--concurrency", "2", "--transport", "single")
    command = (
        "mirror",
        "--archive",
        interrupted_archive.url,
        "--everything",
        "--yes",
        "--to",
        mirror,
        "--progress",
        "none",
    )
    with start([*command, *slow], cache=cache) as first:
        while not list(mirror.glob("*/**/*.dcm")):
            assert first.poll() is None
        first.send_signal(signal.SIGINT)
        _, err = first.communicate()
    assert first.returncode == 130
    assert f"bulkdl resume {mirror}" in err
    held = journalled_checksums(mirror)
    assert 0 < len(held) < len(made_up[1])
    assert checksums_on_disk(mirror) == held
    fetched_before = len(interrupted_archive.object_requests())
    done = run("resume", mirror, *QUIET, cache=cache)
    assert done.code == 0
    assert checksums_on_disk(mirror) == checksums_of(made_up[1])
    assert fetched_before + len(interrupted_archive.object_requests()) <= 2 * len(made_up[1])


def test_a_file_that_was_renamed_and_not_journalled_is_adopted_without_a_request(
    archive: RunningArchive, made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path: Path
) -> None:
    mirror = tmp_path / "m"
    orphan, path = made_up[1][0], next(iter(checksums_of(made_up[1][:1])))
    (mirror / path).parent.mkdir(parents=True)
    (mirror / path).write_bytes(orphan.content)
    command = ("mirror", "--archive", archive.url, "--series", orphan.series_uid, "--to", mirror)
    report = run(*command, *QUIET, cache=cache).document()
    assert report["instances"] == {
        "selected": 20,
        "fetched": 19,
        "reused": 1,
        "failed": 0,
        "quarantined": 0,
        "not_decoded": 0,
    }
    assert orphan.sop_uid not in str(archive.object_requests())


def test_a_plan_counts_what_a_mirror_then_downloads(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "m"
    selection = ("--archive", archive.url, "--collection", "FIRST")
    plan = run("plan", *selection, "--json", "--progress", "none", cache=cache).document()
    report = run("mirror", *selection, "--to", mirror, *QUIET, cache=cache).document()
    assert plan["instances"]["selected"] == report["instances"]["fetched"] == 120
    assert plan["bytes"]["selected"] == report["bytes"]["mirror"]
    assert plan["bytes"]["exact"] is True
    assert plan["series"]["selected"] == 6


def test_status_says_what_is_held(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "m"
    run("mirror", "--archive", archive.url, "--collection", "FIRST", "--to", mirror, *QUIET, cache=cache)
    status = run("status", mirror, "--json", cache=cache).document()
    assert status["series"]["complete"] == 6
    assert (status["instances"]["held"], status["instances"]["owed"]) == (120, 0)
    assert status["running"] is None
