"""The demonstration archive as one of the IDC's form: its index and its bucket come from a server of ours."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.commands import run

OF_ONE_PATIENT = ("--archive", "demo-idc", "--collection", "PYDICOM-DICOMDIR", "--patient", "98890234")


def test_a_mirror_is_complete_and_is_verified(demo_cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    done = run("mirror", *OF_ONE_PATIENT, "--to", mirror, "--json", cache=demo_cache)
    document = done.document()
    assert (done.code, document["outcome"]) == (0, "complete")
    assert document["instances"]["fetched"] == document["instances"]["selected"] > 10
    assert len(list((mirror / "PYDICOM-DICOMDIR").rglob("*.dcm"))) == document["instances"]["selected"]
    assert run("verify", mirror, cache=demo_cache).code == 0
    status = run("status", mirror, "--json", cache=demo_cache).document()
    assert status["archive"] == "demo-idc"


def test_a_second_run_and_resume_download_nothing(demo_cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    assert run("mirror", *OF_ONE_PATIENT, "--to", mirror, cache=demo_cache).code == 0
    again = run("mirror", *OF_ONE_PATIENT, "--to", mirror, "--json", cache=demo_cache).document()
    assert (again["outcome"], again["instances"]["fetched"]) == ("complete", 0)
    resumed = run("resume", mirror, "--json", cache=demo_cache).document()
    assert (resumed["outcome"], resumed["instances"]["fetched"]) == ("complete", 0)


def test_it_answers_and_leaves_no_index_behind(demo_cache: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = run("archives", "--archive", "demo-idc", "--json", cache=demo_cache, more={"TMPDIR": str(temporary)})
    assert done.code == 0, done.err
    (report,) = json.loads(done.out)["archives"]
    assert (report["name"], report["answers"]) == ("demo-idc", True)
    assert list(temporary.iterdir()) == []


def test_it_has_no_endpoints(demo_cache: Path) -> None:
    done = run("query", "--archive", "demo-idc", "getSeries", cache=demo_cache)
    assert (done.code, "no endpoints" in done.err) == (2, True)
