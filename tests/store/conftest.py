"""What the tests of the store share: a mirror without files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.store.files import MirrorFiles


@pytest.fixture
def files(tmp_path: Path) -> MirrorFiles:
    files = MirrorFiles(tmp_path / "mirror")
    files.prepare()
    return files
