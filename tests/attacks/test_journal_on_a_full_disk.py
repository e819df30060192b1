"""A journal, or another SQLite file, that is made on a full disk is complete or does not exist."""

from __future__ import annotations

from pathlib import Path

from tests.attacks.hostile import HostileArchive
from tests.attacks.serving import said_first
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import instances, write_folder
from tests.support.mirrors import checksums_of, checksums_on_disk
from tests.support.small_disks import mounted, remount

MADE_UP = list(instances(series=1, per_series=2))
SIZES = range(100, 330, 24)


async def test_a_journal_that_was_made_on_a_full_disk_is_whole_or_not_there(bulkdl: Watcher, tmp_path: Path) -> None:
    """Every size of the table: exit 5 in words, and with room the next run is complete."""
    odd = {}
    async with HostileArchive(MADE_UP) as archive:
        for size in SIZES:
            with mounted(tmp_path / f"disk-{size}", f"size={size}k") as disk:
                words = archive.mirror_everything(disk / "mirror")
                first = await bulkdl.run(*words)
                assert_orderly(first)
                remount(disk, "size=50m")
                second = await bulkdl.run(*words)
                is_complete = checksums_on_disk(disk / "mirror") == checksums_of(MADE_UP)
                if first.code not in {0, 5} or second.code != 0 or not is_complete:
                    odd[size] = f"{first.code}, {second.code}: {second.err[:100]}"
    assert odd == {}


async def test_a_journal_that_is_made_anew_on_a_full_disk_is_whole_or_not_there(
    bulkdl: Watcher, tmp_path: Path
) -> None:
    """`adopt --rebuild` makes one too."""
    odd = {}
    for size in range(112, 300, 48):
        with mounted(tmp_path / f"disk-{size}", "size=50m") as disk:
            mirror = disk / "mirror"
            async with HostileArchive(MADE_UP) as archive:
                assert_orderly(await bulkdl.run(*archive.mirror_everything(mirror)), 0)
            for path in (mirror / ".bulkdl").glob("journal*"):
                path.unlink()
            remount(disk, f"size={size}k")
            rebuild = ("adopt", "--rebuild", mirror, "--to", mirror, "--progress", "none", "--json")
            first = await bulkdl.run(*rebuild)
            remount(disk, "size=50m")
            second = await bulkdl.run(*rebuild)
            if first.code not in {0, 2, 5} or second.code not in {0, 2} or "damaged" in second.err:
                odd[size] = f"{first.code}, {second.code}: {second.err[:200]}"
    assert odd == {}


async def test_a_catalogue_that_was_made_on_a_full_disk_is_whole_or_not_there(bulkdl: Watcher, tmp_path: Path) -> None:
    """`serve` keeps one in the cache folder."""
    folder = tmp_path / "folder"
    write_folder(folder, instances(series=1, per_series=2))
    odd = {}
    for size in range(64, 240, 48):
        with mounted(tmp_path / f"disk-{size}", f"size={size}k") as disk:
            more = {"XDG_CACHE_HOME": str(disk), "XDG_CONFIG_HOME": str(tmp_path)}
            first = await said_first(bulkdl, folder, more=more)
            remount(disk, "size=50m")
            second = await said_first(bulkdl, folder, more=more)
            if "Traceback" in first or "internal error" in first or '"url"' not in second:
                odd[size] = f"{first[-200:]} {second[-200:]}"
    assert odd == {}
