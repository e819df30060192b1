"""`report` writes one page that names what is wrong, escapes every name, and needs no other host."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

import bulkdl
from bulkdl.errors import Interrupted, JournalUnreadable, MirrorUnwritable
from bulkdl.model.events import Event, Noted
from bulkdl.model.reports.mirror_report import MirrorReport
from tests.contract.archives import choice
from tests.support.bad_archive import QUICK, command
from tests.support.killed_readers import kill_reader_of
from tests.support.pathdb_server import pathdb_server, slides

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def page(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[MirrorReport, str]:
    """The report of a Study of the phantom with planted faults, and a hostile description of a device."""
    root = tmp_path_factory.mktemp("report")
    (study,) = demo_cache.glob("bulkdl/phantoms-*/PHANTOM-001/STUDY-1")
    shutil.copytree(study, root / "study")
    (root / "study" / "CT" / "010.dcm").unlink()
    mixed = dcmread(root / "study" / "T1" / "005.dcm")
    mixed.PixelSpacing = ["1", "1"]
    mixed.Manufacturer = HOSTILE
    mixed.save_as(root / "study" / "T1" / "005.dcm")
    for name in ("T2", "PET"):
        shutil.rmtree(root / "study" / name)
    for path in (root / "study" / "T1").glob("*.dcm"):
        image = dcmread(path)
        image.Manufacturer = HOSTILE
        image.save_as(path)
    (segmentation,) = (root / "study" / "SEG").glob("*.dcm")
    dangling = dcmread(segmentation)
    dangling.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.4"
    dangling.save_as(segmentation)
    bulkdl.adopt(root / "study", to=root / "mirror")
    report = bulkdl.report(root / "mirror", to=root / "page.html")
    return report, (root / "page.html").read_text(encoding="utf-8")


def test_each_planted_fault_is_named(page: tuple[MirrorReport, str]) -> None:
    report, text = page
    found = {(finding.modality, finding.kind) for finding in report.findings}
    assert found == {
        ("CT", "missing-instance-numbers"),
        ("CT", "missing-slices"),
        ("MR", "mixed-spacing"),
        ("RTSTRUCT", "dangling-reference"),
        ("SEG", "dangling-reference"),
    }
    assert all(finding.series in text for finding in report.findings)
    assert "slices lie 12 mm apart, but 24 mm from" in text
    assert "series 1.2.3.4 that are not held" in text


def test_the_sums_are_those_of_the_mirror(page: tuple[MirrorReport, str]) -> None:
    report, _ = page
    modalities = {group.name: (group.series, group.instances) for group in report.groups["modality"]}
    assert modalities == {"CT": (1, 49), "MR": (1, 19), "SEG": (1, 1), "RTSTRUCT": (1, 1)}
    for groups in report.groups.values():
        assert sum(group.instances for group in groups) == report.status.held == 70


def test_names_are_escaped_and_nothing_is_requested(page: tuple[MirrorReport, str]) -> None:
    _, text = page
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert text.count("<script") == 1
    assert not any(attribute in text for attribute in ('src="http', 'href="http', "url(http", "@import"))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_browser_shows_it_without_an_error(page: tuple[MirrorReport, str], tmp_path: Path) -> None:
    _, text = page
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    options = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"),
    ]
    shown = subprocess.run(
        ["chromium", *options, f"file://{tmp_path / 'page.html'}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert "CONSOLE" not in shown.stderr
    assert "missing-slices" in shown.stdout


def test_quick_reads_no_file(page: tuple[MirrorReport, str], tmp_path: Path) -> None:
    report = bulkdl.report(page[0].mirror, to=tmp_path / "page.html", quick=True)
    assert (report.findings, report.series_read) == ((), 0)
    assert "The headers were not read" in (tmp_path / "page.html").read_text(encoding="utf-8")


async def test_the_command_says_where_the_page_is(page: tuple[MirrorReport, str], cache: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    told = await command("report", page[0].mirror, "--quick", "--output", target, cache=cache)
    assert (told.code, f"the report is {target}" in told.out) == (0, True)
    refused = await command("report", page[0].mirror, "--quick", "--output", tmp_path / "none" / "r.html", cache=cache)
    assert refused.code == 5


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("before", [{}, {"page.html": "old"}], ids=["new", "old"])
async def test_a_report_that_is_stopped_leaves_the_old_page(
    page: tuple[MirrorReport, str], tmp_path: Path, before: dict[str, str]
) -> None:
    stop = asyncio.Event()
    stop.set()
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(Interrupted):
        await bulkdl.report_async(page[0].mirror, to=tmp_path / "page.html", stop=stop)
    assert content(tmp_path) == before


@pytest.mark.skipif(sys.platform != "linux", reason="the reader of a pipe is found in /proc")
async def test_a_file_that_kills_its_reader_is_named_and_all_others_are_read(
    page: tuple[MirrorReport, str], tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(page[0].mirror, mirror)
    images = (path for path in mirror.rglob("*.dcm") if dcmread(path, specific_tags=["Modality"]).Modality == "CT")
    deadly = min(images)
    deadly.unlink()
    os.mkfifo(deadly)
    reporting = asyncio.create_task(bulkdl.report_async(mirror, to=tmp_path / "page.html"))
    for _ in range(2):  # once beside others, and once alone
        await kill_reader_of(deadly)
    report = await reporting
    unreadable = [finding.text for finding in report.findings if finding.kind == "not-readable"]
    assert unreadable == [f"{deadly.relative_to(mirror)}: its reader died"]
    others = {(one.series, one.kind) for one in report.findings if one.modality != "CT"}
    assert others == {(one.series, one.kind) for one in page[0].findings if one.modality != "CT"}


async def test_only_series_that_were_read_are_counted(tmp_path: Path) -> None:
    mirror = tmp_path / "slides"
    async with pathdb_server(slides(2)) as archive:
        chosen = choice("pathdb", archive.url, tmp_path / "cache")
        await bulkdl.mirror_async(everything=True, archive=chosen, to=mirror, settings=QUICK)
    report = await bulkdl.report_async(mirror, to=tmp_path / "page.html")
    assert (report.status.series.selected, report.series_read) == (2, 0)


@pytest.mark.skipif(sys.platform == "darwin", reason="names are always Unicode there")
def test_a_path_that_is_not_utf_8_is_shown_with_a_replacement(page: tuple[MirrorReport, str], tmp_path: Path) -> None:
    mirror = tmp_path / "m\udcff"
    shutil.copytree(page[0].mirror, mirror)
    report = bulkdl.report(mirror, to=tmp_path / "page.html", quick=True)
    assert report.mirror == str(tmp_path / "m\ufffd")
    assert report.mirror in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_cannot_be_reported_is_refused(page: tuple[MirrorReport, str], tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable):
        bulkdl.report(tmp_path, to=tmp_path / "page.html")
    with pytest.raises(MirrorUnwritable):
        bulkdl.report(page[0].mirror, to=tmp_path / "none" / "page.html")


def test_without_pygal_the_page_has_all_but_its_plots_and_says_what_to_install(
    page: tuple[MirrorReport, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pygal", None)
    said: list[Event] = []
    bulkdl.report(page[0].mirror, to=tmp_path / "page.html", sink=said.append)
    text = (tmp_path / "page.html").read_text()
    assert Noted("the page has no plots, which need pygal: pip install 'bulkdl[report]'") in said
    assert ("<figure>" in text, "<figure>" in page[1]) == (False, True)
    assert text.count("<table>") == page[1].count("<table>")
