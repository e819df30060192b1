"""`bulkdl relayout` and `bulkdl merge`: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulkdl.cli.main import run
from bulkdl.verbs.adopt import adopt
from tests.support.dicom_files import instances, padded, write_folder

MADE_UP = list(instances(series=2, per_series=2))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    write_folder(tmp_path / "source", iter(MADE_UP))
    adopt(tmp_path / "source", to=tmp_path / "mirror", archive="nbia")
    return tmp_path / "mirror"


def test_a_relayout_says_what_it_renamed(mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["relayout", str(mirror), "--layout", "idc", "--progress", "none"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{mirror}, layout idc, which was bulkdl\nComplete: 2 of 2 series, 4 files renamed in ")
    assert err == ""


def test_a_relayout_that_leaves_a_series_exits_1_and_names_what_is_in_the_way(
    mirror: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mirror / MADE_UP[0].series_uid).write_text("mine")
    assert run(["relayout", str(mirror), "--layout", "flat", "--json", "--progress", "none"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["outcome"], document["series"]) == ("partial", {"selected": 2, "moved": 1, "failed": 1})
    assert document["problems"][0]["path"] == MADE_UP[0].series_uid
    assert "it is in the way of series" in err
    assert err.count("\n") == 1


def test_a_trial_of_a_view_is_invalid_usage(mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["relayout", str(mirror), "--dry-run", "--as-view", "v", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"] == "configuration"
    assert "cannot be combined" in err


def test_a_merge_with_a_conflict_exits_1_and_names_the_instance(
    mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "other", iter([padded(MADE_UP[0]), *MADE_UP[1:]]))
    adopt(tmp_path / "other", archive="nbia")
    assert (
        run(["merge", str(mirror), str(tmp_path / "other"), "--to", str(tmp_path / "whole"), "--progress", "none"]) == 1
    )
    out, err = capsys.readouterr()
    assert "Partial: 4 instances of 2 series joined" in out
    assert f"other bytes of instance {MADE_UP[0].sop_uid}; both stay where they are" in out
    assert err == "bulkdl: 1 conflict: the mirrors have different bytes; nothing was overwritten\n"


def test_a_merge_needs_mirrors_and_a_place(mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["merge", str(mirror)]) == 2
    assert run(["merge", "--to", str(mirror)]) == 2
    assert "--to" in capsys.readouterr().err
