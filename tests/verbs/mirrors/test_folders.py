"""Whether a folder is a mirror, a view or neither; to know that takes no more imports than a journal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bulkdl.errors import ConfigurationError, JournalUnreadable
from bulkdl.runtime.disk import JOURNAL, VIEW
from bulkdl.verbs.mirrors.folders import mirror_around, refuse_inside_mirror, require_mirror

IMPORT = """
import sys
import bulkdl
bulkdl.status, bulkdl.log
print(*sorted(name for name in sys.modules if name.startswith("bulkdl.")))
"""


def test_a_folder_without_a_journal_is_not_a_mirror(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match=r"is not a mirror: it has no \.bulkdl/journal\.sqlite"):
        require_mirror(tmp_path)


def test_a_folder_whose_name_is_too_long_is_not_a_mirror(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="cannot be read: File name too long"):
        require_mirror(tmp_path / ("d" * 300))


def test_a_view_is_not_a_mirror(tmp_path: Path) -> None:
    (tmp_path / VIEW).parent.mkdir()
    (tmp_path / VIEW).touch()
    with pytest.raises(JournalUnreadable, match="is a view of a mirror"):
        require_mirror(tmp_path)
    with pytest.raises(ConfigurationError, match="is a view of a mirror"):
        refuse_inside_mirror(tmp_path)


def test_a_folder_inside_a_mirror_is_refused_and_the_mirror_itself_is_not(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).parent.mkdir()
    (tmp_path / JOURNAL).touch()
    refuse_inside_mirror(tmp_path)
    assert mirror_around(tmp_path / "a" / "b") == tmp_path
    with pytest.raises(ConfigurationError, match="is inside the mirror"):
        refuse_inside_mirror(tmp_path / "a" / "b")


def test_status_and_log_import_neither_archives_nor_downloads() -> None:
    shown = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout
    packages = {name.split(".")[1] for name in shown.split()}
    assert packages.isdisjoint({"archive", "dicom", "fetch", "manifest", "resolve", "server", "services"})
