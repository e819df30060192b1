"""What a worker works with: the files of a new mirror, and threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkdl.fetch.threads import Threads
from bulkdl.store.files import MirrorFiles


@pytest.fixture
def files(tmp_path: Path) -> MirrorFiles:
    files = MirrorFiles(tmp_path / "mirror")
    files.prepare()
    return files


@pytest.fixture
def threads() -> Iterator[Threads]:
    with Threads() as made:
        yield made
