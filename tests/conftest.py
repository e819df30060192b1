"""Fixtures for everybody: caches apart from the user's, and embedded archives in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import RunningArchive, serve


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for all commands of the session; the demonstration archive is made in it once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def demo_archive(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    """`bulkdl serve --demo`, for the whole session."""
    with serve("--demo", cache=cache, log=tmp_path_factory.mktemp("demo") / "access.jsonl") as archive:
        yield archive
