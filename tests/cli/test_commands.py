"""What the smaller commands print, against an embedded archive of a few made-up instances."""

from __future__ import annotations

import csv
import io
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkdl.server.passwords import is_password
from tests.support.commands import RunningArchive, run, serve, start
from tests.support.dicom_files import instances, write_folder
from tests.support.idc_index import series_row, write_index


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    write_folder(folder, instances(series=3, per_series=2, collection="FIRST"))
    return folder


@pytest.fixture(scope="module")
def archive(folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with serve(folder, cache=cache, log=tmp_path_factory.mktemp("log") / "access.jsonl") as running:
        yield running


# --- query ------------------------------------------------------------------------------------------------------------


def test_query_prints_the_response_unchanged(archive: RunningArchive, cache: Path) -> None:
    answer = run("query", "--archive", archive.url, "GETSERIES", "Collection=FIRST", cache=cache)
    assert answer.code == 0
    assert len(json.loads(answer.out)) == 3
    assert answer.err == ""


def test_query_asks_for_another_format(archive: RunningArchive, cache: Path) -> None:
    answer = run("query", "--archive", archive.url, "getCollectionValues", "--format", "csv", cache=cache)
    assert list(csv.reader(io.StringIO(answer.out))) == [["Collection"], ["FIRST"]]


def test_query_lists_the_endpoints_without_a_request(cache: Path) -> None:
    answer = run("query", "--archive", "http://127.0.0.1:9/nbia-api/services", "--list", cache=cache)
    assert answer.code == 0
    assert "getSOPInstanceUIDs " in answer.out


@pytest.mark.parametrize(
    ("words", "hint"),
    [(["getSerie"], "did you mean getSeries?"), (["getSeries", "Colection=FIRST"], "did you mean Collection")],
    ids=["endpoint", "parameter"],
)
def test_query_sends_nothing_that_is_misspelt(
    archive: RunningArchive, cache: Path, words: list[str], hint: str
) -> None:
    """NBIA would answer a misspelt criterion with everything it has."""
    before = len(archive.requests())
    answer = run("query", "--archive", archive.url, *words, cache=cache)
    assert answer.code == 2
    assert hint in answer.err
    assert len(archive.requests()) == before


# --- plan, status -----------------------------------------------------------------------------------------------------


def test_a_saved_plan_mirrors_what_was_planned(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    saved = tmp_path / "plan.tcia"
    words = ("--archive", archive.url, "--progress", "none")
    planned = run("plan", *words, "--collection", "FIRST", "--save", saved, cache=cache)
    assert (planned.code, planned.err) == (0, "")
    assert "3 series, 6 instances: 0 held, 6 to download" in planned.out
    mirrored = run("mirror", *words, "--manifest", saved, "--to", tmp_path / "m", cache=cache)
    assert (mirrored.code, mirrored.err) == (0, "")
    assert mirrored.out.startswith(
        "Complete: 3 of 3 series complete; 6 instances: 6 downloaded, 0 already in the mirror\n"
    )


def test_a_plan_that_cannot_be_saved_exits_5(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    words = ("--archive", archive.url, "--progress", "none", "--collection", "FIRST")
    planned = run("plan", *words, "--save", tmp_path / "nowhere" / "plan.tcia", cache=cache)
    assert planned.code == 5
    assert planned.err.count("\n") == 1


@pytest.fixture
def mirror(archive: RunningArchive, cache: Path, tmp_path: Path) -> Path:
    to = tmp_path / "m"
    assert run("mirror", "--archive", archive.url, "--collection", "FIRST", "--to", to, cache=cache).code == 0
    return to


def test_status_is_text_or_one_document(mirror: Path, cache: Path) -> None:
    text = run("status", mirror, cache=cache)
    assert (text.code, text.err) == (0, "")
    assert "FIRST            3          6     6" in text.out
    document = run("status", mirror, "--json", cache=cache).document()
    assert document["instances"] == {
        "selected": 6,
        "fetched": 0,
        "reused": 6,
        "held": 6,
        "owed": 0,
        "failed": 0,
        "quarantined": 0,
        "not_decoded": 0,
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_ends_with_exit_0_on_a_signal(mirror: Path, cache: Path, number: int) -> None:
    with start(["status", "--watch", mirror], cache=cache) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith(str(mirror))
        watching.send_signal(number)
        _, err = watching.communicate()
    assert (watching.returncode, err) == (0, "")


@pytest.mark.parametrize(("typed", "code"), [("let me in\n", 0), ("", 2)])
def test_a_password_of_a_pipe_is_hashed(cache: Path, typed: str, code: int) -> None:
    hashed = run("serve", "--hash-password", cache=cache, stdin=typed)
    assert hashed.code == code
    assert hashed.out == "" or is_password("let me in", hashed.out.strip())


# --- output -----------------------------------------------------------------------------------------------------------


def test_quiet_leaves_errors_and_what_was_asked_for(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    to, log = tmp_path / "m", tmp_path / "bulkdl.log"
    words = ("--archive", archive.url, "--collection", "FIRST", "-q")
    planned = run("plan", *words, cache=cache)
    assert (planned.code, planned.err) == (0, "")
    assert "3 series" in planned.out
    mirrored = run("mirror", *words, "--to", to, "--log-file", log, cache=cache)
    assert (mirrored.code, mirrored.out, mirrored.err) == (0, "", "")
    assert json.loads(log.read_text().splitlines()[-1])["document"]["outcome"] == "complete"
    next(to.rglob("*.dcm")).unlink()
    verified = run("verify", "-q", to, cache=cache)
    assert (verified.code, verified.out) == (1, "")
    assert verified.err.startswith("bulkdl: 1 problem found")


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify_exits_1_for_problems_and_0_after_a_repair(mirror: Path, cache: Path) -> None:
    damaged = next(mirror.rglob("*.dcm"))
    damaged.write_bytes(b"damage")
    found = run("verify", mirror, "--progress", "none", cache=cache)
    assert found.code == 1
    assert "5 of 6 files valid" in found.out
    assert found.err.endswith(f"to repair: bulkdl verify --repair {mirror}\n")
    mended = run("verify", mirror, "--repair", "--progress", "none", cache=cache)
    assert (mended.code, mended.err) == (0, "")
    assert run("verify", mirror, "--progress", "none", cache=cache).code == 0


# --- serve ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_its_address_and_ends_with_exit_0_on_a_signal(folder: Path, cache: Path, number: int) -> None:
    with start(["serve", folder, "--port", "0"], cache=cache) as serving:
        assert serving.stdout is not None
        assert serving.stdout.readline().startswith("http://127.0.0.1:")
        serving.send_signal(number)
        out, err = serving.communicate()
    assert (serving.returncode, out) == (0, "")
    assert "serving 6 instances in 3 series of 2 patients" in err


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """Two files that are not DICOM, three of one instance, and two of one Series under two Patients."""
    folder = tmp_path / "odd"
    made = write_folder(folder, instances(series=1, per_series=2))
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("no DICOM")
    content = made[0].content
    for number in (2, 3):
        (folder / f"{number}.dcm").write_bytes(content[:-1] + bytes([number]))
    other = folder / made[1].path
    other.write_bytes(made[1].content.replace(made[1].patient_id.encode(), made[1].patient_id[:-1].encode() + b"X"))
    return folder


def test_serve_names_what_it_does_not_serve(odd_folder: Path, cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "scan.jsonl"
    with start(["serve", odd_folder, "--port", "0", "--json", "--scan-log", log], cache=cache) as serving:
        assert serving.stdout is not None
        document = json.loads(serving.stdout.readline())
        serving.send_signal(signal.SIGINT)
        _, err = serving.communicate()
    assert [entry["path"] for entry in document["unservable"]] == [
        str(odd_folder / name) for name in ("a.txt", "b.txt")
    ]
    assert sum(document["unservable_by_reason"].values()) == 2
    assert [len(entry["others"]) for entry in document["conflicts"]] == [2]
    assert [entry["field"] for entry in document["contradictions"]] == ["patient_id"]
    assert document["totals"]["instances"] == 2
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert entries == [*document["unservable"], *document["conflicts"], *document["contradictions"]]
    assert "2 files are not servable" in err
    assert f"2: no DICOM preamble and meta information (PS3.10 §7.1), such as {odd_folder / 'a.txt'}" in err
    assert "2 files are not served, because another file has the same SOP Instance UID" in err
    assert "has another patient than" in err


def test_serve_warns_of_a_folder_without_dicom_files(tmp_path: Path, cache: Path) -> None:
    with start(["serve", tmp_path, "--port", "0"], cache=cache) as serving:
        assert serving.stdout is not None
        assert serving.stdout.readline()
        serving.send_signal(signal.SIGINT)
        _, err = serving.communicate()
    assert "nothing is served: no DICOM file was found" in err


def test_serve_says_how_to_choose_another_port(folder: Path, cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", folder, "--port", str(port), cache=cache)
    assert done.code == 2
    assert f"port {port} of 127.0.0.1 is taken by another program; choose another with --port" in done.err


def test_serve_is_a_cache_of_an_archive_that_one_process_works_on(
    archive: RunningArchive, cache: Path, tmp_path: Path
) -> None:
    target, to = tmp_path / "kept", tmp_path / "mirror"
    with serve("--archive", archive.url, "--cache", target, cache=cache, log=tmp_path / "log.jsonl") as gateway:
        done = run("mirror", "--archive", gateway.url, "FIRST", "--to", to, "--json", cache=cache)
        assert (done.code, done.document()["outcome"]) == (0, "complete")
        other = run("serve", "--archive", archive.url, "--cache", target, "--port", "0", cache=cache)
        assert (other.code, other.out) == (6, "")
    assert run("verify", target, cache=cache).code == 0
    assert list(target.rglob("*.dcm"))


def test_serve_logs_each_request_as_one_json_line(archive: RunningArchive, cache: Path) -> None:
    run("query", "--archive", archive.url, "getSeries", "Collection=FIRST", cache=cache)
    last = json.loads(archive.log.read_text().splitlines()[-1])
    assert last["method"] == "GET"
    assert last["path"] == "/nbia-api/services/v4/getSeries?Collection=FIRST"
    assert last["status"] == 200
    assert last["bytes"] > 100
    assert last.keys() == {"time", "method", "path", "status", "bytes", "seconds", "note"}


# --- manifest ---------------------------------------------------------------------------------------------------------


def test_manifests_are_converted_to_standard_output_or_a_file(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.csv").write_text("SeriesInstanceUID,SOPInstanceUID\n1.2.3,1.2.3.1\n")
    printed = run("manifest", "convert", str(tmp_path / "a.csv"), "--format", "tcia", cache=cache)
    assert (printed.code, printed.out.splitlines()[-1]) == (0, "1.2.3")
    assert printed.err == "single instances are named; this form lists their whole series\n"
    words = ("manifest", "convert", str(tmp_path / "a.csv"), "--format", "jsonl")
    written = run(*words, "--output", str(tmp_path / "a.jsonl"), "--json", cache=cache)
    assert json.loads(written.out) == {"format": "jsonl", "series": 1, "instances": 1, "notes": []}
    same = run("manifest", "diff", str(tmp_path / "a.csv"), str(tmp_path / "a.jsonl"), cache=cache)
    assert (same.code, same.out.strip()[-13:]) == (0, "name the same")
    assert run(*words, "--json", cache=cache).code == 2


def test_a_difference_of_manifests_is_an_exit_code(tmp_path: Path, cache: Path) -> None:
    for name, uid in (("a.txt", "1.2.3.4"), ("b.txt", "1.2.3.5")):
        (tmp_path / name).write_text(f"{uid}\n")
    differ = run("manifest", "diff", str(tmp_path / "a.txt"), str(tmp_path / "b.txt"), cache=cache)
    assert (differ.code, differ.out) == (1, "- series 1.2.3.4\n+ series 1.2.3.5\n")
    piped = run("manifest", "diff", "-", str(tmp_path / "b.txt"), cache=cache, stdin="1.2.3.4\n")
    assert (piped.code, piped.out) == (1, differ.out)
    shown = run("manifest", "show", str(tmp_path / "a.txt"), "--json", cache=cache)
    assert json.loads(shown.out)["series"] == 1


def test_a_collection_is_locked_without_a_download(archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    lock, words = tmp_path / "first.lock.zst", ("--archive", archive.url, "--progress", "none", "--collection", "FIRST")
    written = run("manifest", "lock", *words, "--output", lock, "--json", cache=cache)
    assert (written.code, json.loads(written.out)["proofs"]) == (0, {"md5": 6})
    assert written.err == "the lock has no SHA-256 of 6 instances: it has the MD5 of 6\n"
    assert lock.read_bytes().startswith(b"\x28\xb5\x2f\xfd")
    printed = run("manifest", "lock", *words, "--quick", cache=cache)
    assert printed.out.startswith("bulkdl-lock\t1\n")
    refused = run("manifest", "convert", lock, "--format", "csv", "--output", tmp_path / "a.zst", cache=cache)
    assert (refused.code, "only a lock is written compressed" in refused.err) == (2, True)


# --- the Imaging Data Commons -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [series_row(1), series_row(2, Modality="MR", license_short_name="CC BY-NC 4.0")]
    return write_index(tmp_path_factory.mktemp("index"), rows, names={"lung_one": "Lung-One"}, dates={25: "2020-01-01"})


def test_plan_takes_another_index_and_says_its_release(index: Path, cache: Path) -> None:
    options = ("--archive", "idc", "--idc-index", index, "--deny-license", "*NC*")
    planned = run("plan", "lung one", *options, cache=cache)
    assert planned.code == 0
    assert "IDC release 25 (2020-01-01, index 25.0.5)" in planned.out
    assert "1 series, 10 instances" in planned.out
    assert "days old" in planned.err


def test_plan_takes_a_route_and_says_the_sources(index: Path, cache: Path) -> None:
    planned = run("plan", "--series", "1.2.3.1", "--route", "idc-first", "--idc-index", index, cache=cache)
    assert planned.code == 0
    assert "1 series from IDC" in planned.out


def test_archives_shows_the_release_of_the_index(index: Path, cache: Path) -> None:
    shown = run("archives", "--archive", "idc+http://127.0.0.1:9", "--idc-index", index, cache=cache)
    assert "IDC release 25 (2020-01-01, index 25.0.5): " in shown.out
    assert "bulkdl archives --update-index" in shown.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--idc-index", "/no/such/index", "--archive", "idc"], "there is no index of IDC at"),
        (["--route", "somewhere"], "idc-first"),
        (["--analysis-results", "perhaps"], "exclude"),
    ],
)
def test_options_of_idc_are_checked(cache: Path, words: list[str], says: str) -> None:
    planned = run("plan", "--collection", "A", *words, cache=cache)
    assert planned.code == 2
    assert says in planned.err


def test_update_index_needs_an_archive_with_an_index(cache: Path) -> None:
    updated = run("archives", "--archive", "nlst", "--update-index", cache=cache)
    assert (updated.code, updated.out) == (2, "")
    assert "nlst has no index" in updated.err
