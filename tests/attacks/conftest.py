"""What every attack needs: commands that are watched, with the memory of an honest run as their measure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.hostile import HostileArchive
from tests.attacks.small_disks import mounted
from tests.attacks.watching import MORE_BYTES, Watcher, assert_orderly
from tests.support.dicom_files import instances


@pytest.fixture(scope="session")
def honest_bytes(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """The peak of memory of a mirror from an honest archive."""

    async def measure() -> int:
        async with HostileArchive(list(instances(series=4, per_series=10))) as archive:
            mirror = tmp_path_factory.mktemp("honest") / "mirror"
            ended = await Watcher(cache, MORE_BYTES).run(*archive.mirror_everything(mirror))
        assert_orderly(ended, 0)
        return ended.peak_bytes

    return asyncio.run(measure())


@pytest.fixture
def bulkdl(cache: Path, honest_bytes: int) -> Watcher:
    """Runs commands that may take 300 MB more than an honest one."""
    return Watcher(cache, honest_bytes + MORE_BYTES)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 MB."""
    with mounted(tmp_path / "disk", "size=100m") as folder:
        yield folder
