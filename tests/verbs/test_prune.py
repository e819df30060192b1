"""`prune` removes what was withdrawn or replaced, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalUnreadable, MirrorUnwritable
from bulkdl.model.reports.base import SeriesCounts
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances, padded
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.syncing import mirrored, synced

MADE_UP = list(instances(series=6, per_series=2))


async def test_prune_removes_what_was_withdrawn_and_replaced(tmp_path: Path) -> None:
    now = [padded(MADE_UP[2]), *MADE_UP[3:]]
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, now)
        with pytest.raises(MirrorUnwritable, match=r"2 withdrawn and 1 superseded files, .*, more than --max-delete 2"):
            await bulkdl.prune_async(mirror, max_delete=2)
        assert len(checksums_on_disk(mirror)) == len(MADE_UP)
        assert await bulkdl.prune_async(mirror, max_delete=3) == 3
        assert await bulkdl.prune_async(mirror) == 0
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(now)
    assert not (mirror / ".bulkdl" / "superseded").exists()
    verified = await bulkdl.verify_async(mirror)
    assert not verified.problems
    assert verified.series == SeriesCounts(5, 5)


async def test_prune_ends_what_was_interrupted_between_a_file_and_the_journal(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, MADE_UP[2:])
    (first, *_) = sorted(set(checksums_on_disk(mirror)) - set(journalled_checksums(mirror)))
    (mirror / first).unlink()
    assert await bulkdl.prune_async(mirror) == 2
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(MADE_UP[2:])


async def test_prune_removes_nothing_behind_a_link(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, MADE_UP[2:])
    (first, *_) = sorted(set(checksums_on_disk(mirror)) - set(journalled_checksums(mirror)))
    folder = (mirror / first).parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MirrorUnwritable, match="behind a link"):
        await bulkdl.prune_async(mirror)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


async def test_prune_refuses_a_folder_that_is_not_a_mirror(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable):
        await bulkdl.prune_async(tmp_path)
    assert not any(path.exists() for path in (tmp_path / ".bulkdl",))
