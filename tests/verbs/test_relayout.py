"""`relayout`: every layout into every other, what else lies in a mirror, and what is in the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ConfigurationError, JournalUnreadable, LayoutError
from bulkdl.journal.journal import Journal
from bulkdl.runtime.disk import JOURNAL
from tests.support.dicom_files import instances
from tests.support.layouts import NUMBERED, assert_holds, mirror_of, numbered_instances
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = numbered_instances()


async def test_a_mirror_goes_through_all_layouts_and_back(tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    for layout in ("nbia-descriptive", "idc", NUMBERED, "%Modality/%StudyDate", "flat", "nbia-classic", "bulkdl"):
        report = await bulkdl.relayout_async(mirror, layout=layout)
        assert (report.outcome, report.series_moved, report.series_failed) == ("complete", 2, 0), layout
        assert report.layout == layout.replace("%Modality/%StudyDate", "{Modality}/{StudyDate}")
        assert_holds(mirror, MADE_UP)
        again = await bulkdl.relayout_async(mirror, layout=layout)
        assert (again.series_moved, again.files_moved) == (0, 0)
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)
    assert not [folder for folder in mirror.rglob("*") if folder.is_dir() and not any(folder.iterdir())][2:]
    assert (await bulkdl.verify_async(mirror)).problems == ()


async def test_the_names_do_not_depend_on_the_way(tmp_path: Path) -> None:
    one = await mirror_of(MADE_UP, tmp_path / "one")
    other = await mirror_of(MADE_UP, tmp_path / "other", "idc")
    for mirror in (one, other):
        await bulkdl.relayout_async(mirror, layout=NUMBERED)
    assert checksums_on_disk(one) == checksums_on_disk(other)


async def test_a_trial_shows_and_changes_nothing(tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    report = await bulkdl.relayout_async(mirror, layout="flat", dry_run=True)
    assert (report.series_moved, report.files_moved, report.outcome) == (2, 8, "complete")
    assert {each.after for each in report.renames} == {one.series_uid for one in MADE_UP}
    assert "would be renamed; nothing was changed" in str(report)
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)
    assert (await bulkdl.relayout_async(mirror)).layout == "bulkdl"


async def test_other_files_of_a_series_move_along_and_folders_go(tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    one = MADE_UP[0]
    folder = mirror / one.collection / one.patient_id / one.study_uid / one.series_uid
    (folder / "notes.txt").write_text("mine")
    (mirror / one.collection / "LICENSE").write_text("theirs")
    (mirror / one.series_uid).mkdir()
    report = await bulkdl.relayout_async(mirror, layout="flat")
    assert (report.files_other, report.files_left) == (1, 0)
    assert (mirror / one.series_uid / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in (mirror / one.collection).rglob("*")) == ["LICENSE"]


async def test_a_file_whose_name_is_taken_stays_and_is_named(tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    one = MADE_UP[0]
    before = f"{one.collection}/{one.patient_id}/{one.study_uid}/{one.series_uid}/notes.txt"
    (mirror / before).write_text("mine")
    (mirror / one.series_uid).mkdir()
    (mirror / one.series_uid / "notes.txt").write_text("other")
    report = await bulkdl.relayout_async(mirror, layout="flat")
    assert (report.outcome, report.left) == ("complete", (before,))
    assert ((mirror / before).read_text(), (mirror / one.series_uid / "notes.txt").read_text()) == ("mine", "other")


async def test_what_is_in_the_way_is_named_and_nothing_is_overwritten(tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    first, second = MADE_UP[0], MADE_UP[4]
    (mirror / first.series_uid).mkdir()
    foreign = mirror / first.series_uid / f"{first.sop_uid}.dcm"
    foreign.write_text("mine")
    report = await bulkdl.relayout_async(mirror, layout="flat")
    assert (report.outcome, report.series_moved, report.series_failed) == ("partial", 1, 1)
    assert report.problems[0].path == f"{first.series_uid}/{first.sop_uid}.dcm"
    assert "move it away, then repeat" in report.problems[0].message
    assert len(list((mirror / second.series_uid).iterdir())) == 4
    assert foreign.read_text() == "mine"
    foreign.unlink()
    assert (await bulkdl.relayout_async(mirror)).series_moved == 1
    assert_holds(mirror, MADE_UP)


async def test_a_stop_ends_it_and_the_next_call_goes_on(tmp_path: Path) -> None:
    mirror = await mirror_of(list(instances(series=4, per_series=2)), tmp_path)
    stop = asyncio.Event()
    stop.set()
    report = await bulkdl.relayout_async(mirror, layout="flat", stop=stop)
    assert (report.outcome, report.series_moved) == ("interrupted", 0)
    heard: list[object] = []
    report = await bulkdl.relayout_async(mirror, sink=heard.append)
    assert (report.outcome, report.layout, report.series_moved) == ("complete", "flat", 4)
    assert "finishing the relayout to flat" in str(heard)


async def test_a_relayout_is_a_run_in_the_log(tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    await bulkdl.relayout_async(mirror, layout="flat")
    assert [(run.verb, run.outcome) for run in bulkdl.log(mirror).runs][-1] == ("relayout", "complete")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"layout": "no"}, LayoutError, "not a layout"),
        ({"layout": "flat", "dry_run": True, "as_view": Path("v")}, ConfigurationError, "cannot be combined"),
    ],
)
async def test_invalid_usage_changes_nothing(
    tmp_path: Path, options: dict[str, object], error: type[Exception], says: str
) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    with pytest.raises(error, match=says):
        await bulkdl.relayout_async(mirror, **options)  # type: ignore[arg-type]
    with pytest.raises(JournalUnreadable, match="not a mirror"):
        await bulkdl.relayout_async(tmp_path / "nothing", layout="flat")
    assert not (tmp_path / "nothing").exists()
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        assert journal.unfinished_relayout() is None
