"""What every attack needs: commands that are watched, with the memory of an honest run as their measure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.hostile import HostileArchive
from tests.attacks.watching import MORE_BYTES, Ended, Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.small_disks import mounted


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deadlines of commands are longer on a busy machine, and so is the limit of each test here."""
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def honest(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A mirror from an honest archive: the measure of memory and time."""

    async def measure() -> Ended:
        async with HostileArchive(list(instances(series=4, per_series=10))) as archive:
            mirror = tmp_path_factory.mktemp("honest") / "mirror"
            ended = await Watcher(cache, MORE_BYTES).run(*archive.mirror_everything(mirror))
        assert_orderly(ended, 0)
        return ended

    return asyncio.run(measure())


@pytest.fixture
def bulkdl(cache: Path, honest: Ended) -> Watcher:
    """Runs commands that may take 300 MB more than an honest one."""
    return Watcher(cache, honest.peak_bytes + MORE_BYTES, honest)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 MB."""
    with mounted(tmp_path / "disk", "size=100m") as folder:
        yield folder
