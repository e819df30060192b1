"""Views: trees of hard links beside a mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ConfigurationError, JournalUnreadable, MirrorUnwritable
from bulkdl.journal.journal import Journal
from bulkdl.runtime.disk import JOURNAL, VIEW
from tests.support.layouts import NUMBERED, assert_holds, mirror_of, numbered_instances
from tests.support.mirrors import checksums_on_disk

MADE_UP = numbered_instances()
PLACES = (Path("/dev/shm"), Path("/var/tmp"))  # noqa: S108 - usually of two file systems


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder on another file system."""
    device = tmp_path.stat().st_dev
    for place in PLACES:
        if place.is_dir() and place.stat().st_dev != device:
            return place
    pytest.skip("there is no second file system")


async def test_a_view_has_the_same_files_in_another_layout(tmp_path: Path) -> None:
    mirror, view = await mirror_of(MADE_UP, tmp_path), tmp_path / "view"
    report = await bulkdl.relayout_async(mirror, layout="idc", as_view=view)
    assert (report.outcome, report.files_linked, report.view) == ("complete", 8, str(view))
    assert {path.stat().st_ino for path in view.rglob("*.dcm")} == {
        path.stat().st_ino for path in mirror.rglob("*.dcm")
    }
    assert_holds(mirror, MADE_UP)
    assert sorted(checksums_on_disk(view).values()) == sorted(checksums_on_disk(mirror).values())
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        assert journal.unfinished_relayout() is None
    again = await bulkdl.relayout_async(mirror, layout="idc", as_view=view)
    assert (again.files_linked, again.files_removed) == (0, 0)


async def test_a_second_call_brings_it_up_to_date_and_keeps_other_files(tmp_path: Path) -> None:
    mirror, view = await mirror_of(MADE_UP[:6], tmp_path), tmp_path / "view"
    await bulkdl.relayout_async(mirror, layout="flat", as_view=view)
    (view / "notes.txt").write_text("mine")
    gone = next(mirror.rglob("*.dcm"))
    gone.unlink()
    await mirror_of(MADE_UP[6:], tmp_path)
    report = await bulkdl.relayout_async(mirror, layout=NUMBERED, as_view=view)
    assert (report.files_linked, report.files_removed) == (7, 6)
    assert (view / "notes.txt").read_text() == "mine"
    found = checksums_on_disk(view)
    del found["notes.txt"]
    assert sorted(found.values()) == sorted(checksums_on_disk(mirror).values())


async def test_a_link_that_is_missing_is_made_and_a_file_in_its_place_is_kept(tmp_path: Path) -> None:
    mirror, view = await mirror_of(MADE_UP, tmp_path), tmp_path / "view"
    await bulkdl.relayout_async(mirror, as_view=view)
    first, second = sorted(view.rglob("*.dcm"))[:2]
    first.unlink()
    second.unlink()
    second.write_text("mine")
    (view / VIEW).write_text((view / VIEW).read_text()[:-9])  # a list that was cut
    report = await bulkdl.relayout_async(mirror, as_view=view)
    assert report.outcome == "partial"
    assert [view / each.path for each in report.problems] == [second]
    assert first.exists()
    assert second.read_text() == "mine"


async def test_a_view_is_not_taken_for_a_mirror(tmp_path: Path) -> None:
    mirror, view = await mirror_of(MADE_UP, tmp_path), tmp_path / "view"
    await bulkdl.relayout_async(mirror, as_view=view)
    with pytest.raises(JournalUnreadable, match="is a view of a mirror"):
        await bulkdl.verify_async(view)
    with pytest.raises(ConfigurationError, match="is a view of a mirror"):
        await bulkdl.adopt_async(mirror, to=view)
    with pytest.raises(JournalUnreadable, match="is a view of a mirror"):
        await bulkdl.relayout_async(view, layout="flat")


async def test_a_view_needs_a_place_for_itself(tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    for place, says in [
        (mirror, "is a mirror itself"),
        (mirror / "view", "is inside the other"),
        (tmp_path, "is inside the other"),
        (tmp_path / "source", "is not empty"),
    ]:
        with pytest.raises(ConfigurationError, match=says):
            await bulkdl.relayout_async(mirror, as_view=place)


async def test_a_view_on_another_file_system_is_refused(elsewhere: Path, tmp_path: Path) -> None:
    mirror = await mirror_of(MADE_UP, tmp_path)
    with pytest.raises(MirrorUnwritable, match="different file systems"):
        await bulkdl.relayout_async(mirror, as_view=elsewhere / "bulkdl-view")
    assert not (elsewhere / "bulkdl-view").exists()
