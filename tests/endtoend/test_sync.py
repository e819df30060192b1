"""The commands `sync` and `log` on an archive that changes, and runs of `sync` that are killed."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

from tests.support.bad_archive import BadArchive, command, start_command
from tests.support.dicom_files import instances, padded
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=12, per_series=4))
NEW = list(instances(series=3, per_series=4, seed="new"))
NOW = [*map(padded, MADE_UP[4:12]), *MADE_UP[12:], *NEW]
WITHDRAWN = MADE_UP[:4]


async def test_sync_shows_does_logs_and_prunes(cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP) as archive:
        begun = await command("mirror", "MADE-UP", "--archive", archive.address, "--to", mirror, cache=cache)
        assert begun.code == 0, begun.err
        archive.made_up = NOW
        planned = await command("sync", mirror, "--dry-run", "--json", cache=cache)
        changes = planned.document()["changes"]
        assert (changes["new_series"], changes["changed_series"], changes["withdrawn_series"]) == (3, 2, 1)
        assert journalled_checksums(mirror) == checksums_of(MADE_UP)
        synced = await command("sync", mirror, "--json", cache=cache)
        assert synced.code == 0, synced.err
        assert synced.document()["changes"]["replaced_instances"] == 8
        assert checksums_on_disk(mirror) == checksums_of([*WITHDRAWN, *NOW])
        pruned = await command("sync", mirror, "--prune", cache=cache)
    assert pruned.code == 0, pruned.err
    assert "removing 4 withdrawn and 8 superseded files" in pruned.err
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(NOW)
    logged = await command("log", mirror, cache=cache)
    assert [line.split()[1] for line in logged.out.splitlines()[1:]] == ["mirror", "sync", "sync", "prune"]


async def test_wherever_a_sync_is_killed_the_next_one_ends_it(cache: Path, tmp_path: Path) -> None:
    mirror, moments = tmp_path / "mirror", random.Random(7)  # noqa: S311 - not for secrets
    async with BadArchive(MADE_UP) as archive:
        await command("mirror", "MADE-UP", "--archive", archive.address, "--to", mirror, cache=cache)
        archive.made_up = NOW
        for _ in range(8):
            process = await start_command("sync", mirror, "--prune", "--transport", "single", cache=cache)
            try:
                async with asyncio.timeout(moments.uniform(0.3, 1.2)):
                    await process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):  # it may have ended in this moment
                    process.kill()
                await process.communicate()
            visible = checksums_on_disk(mirror)
            assert visible.items() <= {*checksums_of(MADE_UP).items(), *checksums_of(NOW).items()}
        last = await command("sync", mirror, "--prune", cache=cache)
    assert last.code == 0, last.err
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(NOW)
