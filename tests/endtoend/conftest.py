"""Fixtures for tests whose module has `made_up`: the folder of its archive, and the instances in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import RunningArchive, serve
from tests.support.dicom_files import MadeUp


@pytest.fixture(scope="module")
def server(
    made_up: tuple[Path, list[MadeUp]], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningArchive]:
    """The embedded archive of the folder, in another process."""
    with serve(made_up[0], cache=cache, log=tmp_path_factory.mktemp("log") / "access.jsonl") as running:
        yield running


@pytest.fixture
def archive(server: RunningArchive) -> RunningArchive:
    """The archive, with the requests of this test."""
    return server.from_now()
