"""Which files of a Series come from another mirror, and where they lie then."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

import bulkdl
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances, padded
from tests.support.layouts import assert_holds, mirror_of
from tests.support.mirrors import checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=2, per_series=3))


@pytest.mark.parametrize("move", [False, True])
async def test_a_conflict_is_named_and_nothing_is_overwritten(tmp_path: Path, move: bool) -> None:  # noqa: FBT001
    async with BadArchive(MADE_UP) as archive:
        one = await mirror_whole(archive, tmp_path / "first")
        archive.made_up = [padded(MADE_UP[0]), *MADE_UP[1:]]
        whole = await mirror_whole(archive, tmp_path / "second")
    before, theirs = checksums_on_disk(whole), checksums_on_disk(one)
    report = await bulkdl.merge_async(whole, to=one, move=move)
    assert (report.outcome, report.conflicts) == ("partial", 1)
    assert report.problems[0].path.endswith(f"{MADE_UP[0].sop_uid}.dcm")
    assert MADE_UP[0].sop_uid in report.problems[0].message
    assert theirs.items() <= checksums_on_disk(one).items()
    left = checksums_on_disk(whole)
    assert left == (
        before if not move else {path: digest for path, digest in before.items() if theirs.get(path, digest) != digest}
    )
    assert journalled_checksums(whole) == left
    assert "nothing was overwritten" in str(report.complaint())


async def mirror_whole(archive: BadArchive, folder: Path) -> Path:
    report = await archive.mirror(folder)
    assert report.outcome == "complete"
    return folder / "mirror"


async def test_a_stop_and_a_file_that_was_never_recorded(tmp_path: Path) -> None:
    one = await mirror_of(MADE_UP, tmp_path)
    whole, stop = tmp_path / "whole", asyncio.Event()
    stop.set()
    assert (await bulkdl.merge_async(one, to=whole, stop=stop)).outcome == "interrupted"
    leftover = next(one.rglob("*.dcm"))
    place = whole / leftover.relative_to(one)
    place.parent.mkdir(parents=True)
    shutil.copyfile(leftover, place)
    report = await bulkdl.merge_async(one, to=whole)
    assert (report.outcome, report.brought, report.linked) == ("complete", 6, 5)
    assert_holds(whole, MADE_UP)


async def test_another_file_in_the_place_of_an_instance_stays(tmp_path: Path) -> None:
    one = MADE_UP[:3]
    mirror = await mirror_of(one, tmp_path)
    foreign = tmp_path / "whole" / next(iter(checksums_on_disk(mirror)))
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    report = await bulkdl.merge_async(mirror, to=tmp_path / "whole")
    assert (report.outcome, report.conflicts, report.brought) == ("partial", 1, 2)
    assert foreign.read_text() == "mine"
    foreign.unlink()
    assert (await bulkdl.merge_async(mirror, to=tmp_path / "whole")).outcome == "complete"
    assert_holds(tmp_path / "whole", one)
