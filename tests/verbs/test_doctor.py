"""`doctor` says what is installed, what is missing and what fails, and shows no secret."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

import bulkdl
from bulkdl.model.reports.doctor import Check, CheckState, DoctorReport
from tests.support.bad_archive import command
from tests.support.commands import RunningArchive, run


def by_name(report: DoctorReport, group: str) -> dict[str, Check]:
    return {check.name: check for check in report.checks if check.group == group}


def test_everything_that_is_installed_has_its_version(tmp_path: Path) -> None:
    report = bulkdl.doctor(tmp_path, offline=True, archive="demo")
    assert {check.group for check in report.checks} == {"versions", "packages", "extras", "decoders", "disk", "cache"}
    assert by_name(report, "versions")["bulkdl"].text == bulkdl.__version__
    assert by_name(report, "packages")["pydicom"].text == importlib.metadata.version("pydicom")
    assert set(by_name(report, "extras")) >= {"pixels", "idc", "demo", "report"}
    assert "pydicom" in by_name(report, "decoders")["RLE Lossless"].text
    assert not [check for check in report.checks if check.state is CheckState.FAILED]


def test_the_archive_is_asked_unless_offline(demo_archive: RunningArchive, tmp_path: Path) -> None:
    checks = by_name(bulkdl.doctor(tmp_path, archive=demo_archive.url), "network")
    assert [check.state for check in checks.values()] == [CheckState.OK] * len(checks)
    assert any(name.endswith(": image") for name in checks)


async def test_an_archive_that_does_not_answer_is_a_failed_check(cache: Path) -> None:
    told = await command("doctor", "--archive", "http://127.0.0.1:9/nbia-api/services/v1", cache=cache)
    assert told.code == 1
    assert "failed: " in told.out
    assert told.err.splitlines()[-1] == "bulkdl: 1 check failed"


def test_a_folder_that_cannot_be_written_is_a_failed_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert by_name(bulkdl.doctor(tmp_path, offline=True), "disk")["writable"].state is CheckState.FAILED


def test_what_is_not_installed_is_missing_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = importlib.metadata.version

    def without_pygal(name: str) -> str:
        if name == "pygal":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_pygal)
    monkeypatch.setitem(sys.modules, "numpy", None)
    report = bulkdl.doctor(tmp_path, offline=True)
    extra = by_name(report, "extras")["report"]
    assert (extra.state, extra.text) == (CheckState.MISSING, "pygal not installed: pip install 'bulkdl[report]'")


def test_secrets_of_the_environment_are_not_shown(cache: Path) -> None:
    secrets = {"BULKDL_PASSWORD": "hush-1", "BULKDL_API_KEY": "hush-2", "HTTPS_PROXY": "http://me:hush-3@127.0.0.1:9"}
    told = run("doctor", "--offline", "--archive", "demo", cache=cache, more=secrets)
    assert told.code == 0
    assert "BULKDL_API_KEY, BULKDL_PASSWORD" in told.out
    assert "HTTPS_PROXY" in told.out
    assert "hush" not in told.out + told.err
