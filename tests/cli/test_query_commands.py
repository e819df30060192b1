"""`query`, `describe` and `archives` as commands, against an embedded archive of a few made-up instances."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bulkdl.archive.profiles import BUILT_IN
from bulkdl.cli.main import run as run_here
from bulkdl.model.access import DEMOS
from tests.support.commands import Finished, RunningArchive, run, serve
from tests.support.dicom_files import instances, write_folder


@pytest.fixture(scope="module")
def archive(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    folder = tmp_path_factory.mktemp("archive")
    write_folder(folder, instances(series=3, per_series=2, collection="FIRST"))
    with serve(folder, cache=cache, log=tmp_path_factory.mktemp("log") / "access.jsonl") as running:
        yield running


def address(archive: RunningArchive, family: str) -> str:
    if family == "tcia-v3":
        return f"tcia-v3+{archive.url.replace('nbia-api/services', 'services/v3')}"
    return f"{family}+{archive.url}"


def query(archive: RunningArchive, cache: Path, *words: str, family: str = "nbia-v4") -> Finished:
    return run("query", "--archive", address(archive, family), *words, cache=cache)


# --- query ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["nbia-v1", "nbia-v4", "tcia-v3"])
def test_query_shows_a_table(archive: RunningArchive, cache: Path, family: str) -> None:
    done = query(archive, cache, "getSeries", "Collection=FIRST", "--format", "table", family=family)
    assert (done.code, done.err) == (0, "")
    heads, *rows = done.out.splitlines()
    assert heads.split()[:3] == ["SeriesInstanceUID", "StudyInstanceUID", "Modality"]
    assert len(rows) == 3


def test_query_shows_a_csv_response_as_a_table(archive: RunningArchive, cache: Path) -> None:
    series_uid = json.loads(query(archive, cache, "getSeries").out)[0]["SeriesInstanceUID"]
    done = query(archive, cache, "getSeriesMetadataCombined", f"list={series_uid}", "--format", "table")
    assert (done.code, done.err) == (0, "")
    assert series_uid in done.out
    assert '"' not in done.out


def test_query_says_that_nothing_was_found(archive: RunningArchive, cache: Path) -> None:
    assert query(archive, cache, "getSeries", "Collection=NONE", "--format", "table").out == "nothing was found\n"


@pytest.mark.parametrize("family", ["nbia-v1", "nbia-v4", "tcia-v3"])
@pytest.mark.parametrize(
    ("answer_format", "beginning"), [("json", "[{"), ("csv", ""), ("xml", "<"), ("html", "<")], ids=lambda word: word
)
def test_query_requests_any_format_and_prints_it_unchanged(
    archive: RunningArchive, cache: Path, family: str, answer_format: str, beginning: str
) -> None:
    done = query(archive, cache, "getCollectionValues", "--format", answer_format, family=family)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(beginning)
    assert "FIRST" in done.out


def test_query_posts_what_an_endpoint_wants_posted(archive: RunningArchive, cache: Path) -> None:
    words = ("criteriaType0=CollectionCriteria", "value0=FIRST", "start=0", "size=10")
    done = query(archive, cache, "getSimpleSearch", *words)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["totalPatients"] == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("getSingleImage", "--format", "table"), "does not answer with a table"),
        (("getContentsByName", "name=x", "--format", "xml"), "answers only in json"),
        (("getSeries", "Collection=A", "Collection=B"), "accepts Collection only once"),
    ],
    ids=["no table", "no such format", "twice"],
)
def test_query_refuses_a_format_that_an_endpoint_does_not_have(
    archive: RunningArchive, cache: Path, words: tuple[str, ...], complaint: str
) -> None:
    done = query(archive, cache, *words)
    assert done.code == 2
    assert complaint in done.err


@pytest.mark.parametrize("name", ["tcia", "nbia-v1", "nbia-v2", "tcia-v3", "demo"])
def test_query_lists_the_endpoints_of_every_archive_offline(cache: Path, name: str) -> None:
    done = run("query", "--archive", name, "--list", cache=cache)
    assert (done.code, done.err) == (0, "")
    assert "getPatientStudy" in done.out


# --- describe ---------------------------------------------------------------------------------------------------------


def test_describe_shows_parameters_and_attributes_with_their_tags(cache: Path) -> None:
    done = run("describe", "--archive", "nbia-v1", "GETSERIES", cache=cache)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("getSeries: ")
    assert "Formats: json, csv, xml, html" in done.out
    assert "0020 000E" in done.out


def test_describe_asks_an_archive_that_has_descriptions(archive: RunningArchive, cache: Path) -> None:
    done = run("describe", "--archive", address(archive, "tcia-v3"), "getPatientStudy", "--json", cache=cache)
    assert (done.code, done.err) == (0, "")
    assert {"name", "queryParameters", "returnTypes", "attributes"} <= done.document().keys()


def test_describe_says_that_the_description_is_from_bulkdl(cache: Path) -> None:
    done = run("describe", "--archive", "tcia-v3+http://127.0.0.1:9/services/v3", "getSeries", cache=cache)
    assert done.code == 0
    assert "this one comes with bulkdl" in done.err
    assert done.out.startswith("getSeries: ")


# --- archives ---------------------------------------------------------------------------------------------------------


def test_archives_shows_that_an_archive_answers(archive: RunningArchive, cache: Path) -> None:
    done = run("archives", "--archive", archive.url, cache=cache)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1].split()[2:7] == ["ok", "-", "-", "ok", "ok"]


def test_archives_says_why_an_archive_does_not_answer(cache: Path) -> None:
    done = run("archives", "--archive", "http://127.0.0.1:9/nbia-api/services", "--json", cache=cache)
    assert done.code == 4
    (entry,) = done.document()["archives"]
    assert entry["answers"] is False
    assert {check["check"]: check["outcome"] for check in entry["checks"]}["api"] == "failed"


def test_archives_sends_a_key_to_the_default_archive_alone(
    demo_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Profiles of the configuration stand in for the real archives, which no test asks."""
    folder = tmp_path / "archive"
    write_folder(folder, instances(series=1, per_series=1, collection="FIRST"))
    (tmp_path / "keys").write_text("the-key\n")
    with (
        serve(folder, "--api-key-file", tmp_path / "keys", cache=demo_cache, log=tmp_path / "one") as ours,
        serve(folder, "--api-key-file", tmp_path / "keys", cache=demo_cache, log=tmp_path / "two") as theirs,
    ):
        names = [name for name in BUILT_IN if name != "tcia-v3"]
        nowhere = [f'{name} = "nbia-v1+http://127.0.0.1:9/nbia-api/services"' for name in names]
        (tmp_path / "config.toml").write_text(
            "\n".join(
                [
                    "[profiles]",
                    *nowhere,
                    f'tcia-v3 = "{address(theirs, "tcia-v3")}"',
                    f'ours = "{address(ours, "tcia-v3")}"',
                ]
            )
        )
        monkeypatch.setenv("XDG_CACHE_HOME", str(demo_cache))
        monkeypatch.setenv("BULKDL_ARCHIVE", "ours")
        monkeypatch.setenv("BULKDL_API_KEY", "the-key")
        code = run_here(["archives", "--json", "--config", str(tmp_path / "config.toml")])
    out = capsys.readouterr().out
    assert (code, "the-key" in out) == (0, False)
    found = json.loads(out)["archives"]
    hosts = {urlsplit(entry["url"]).hostname for entry in found if entry["name"] not in DEMOS}
    assert hosts == {"127.0.0.1"}
    answers = {entry["name"]: entry["answers"] for entry in found}
    assert (answers["ours"], answers["tcia-v3"]) == (True, False)
