"""A lock is made of a mirror."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalUnreadable, ManifestError


def test_a_lock_needs_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1.2.3.4\n")
    with pytest.raises(ManifestError, match="mirror this manifest first"):
        bulkdl.manifest_lock(tmp_path / "a.txt", io.StringIO())
    with pytest.raises(JournalUnreadable):
        bulkdl.manifest_lock(tmp_path, io.StringIO())
