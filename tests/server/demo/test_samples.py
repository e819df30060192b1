"""Locate the sample files of pydicom without importing it."""

from __future__ import annotations

import subprocess
import sys

from bulkdl.server.demo.samples import pydicom_data_samples, pydicom_samples


def test_finds_the_files_of_pydicom() -> None:
    folder = pydicom_samples()
    assert folder is not None
    assert (folder / "test_files" / "CT_small.dcm").is_file()


def test_finds_the_files_of_pydicom_data_where_it_is_installed() -> None:
    folder = pydicom_data_samples()
    assert folder is None or (folder / "MR2_UNCI.dcm").is_file()


def test_locating_samples_imports_neither_package() -> None:
    """The server starts in a fraction of a second because of this."""
    script = (
        "import sys; from bulkdl.server.demo.samples import *; pydicom_samples(); pydicom_data_samples(); "
        "sys.exit('pydicom' in sys.modules or 'data_store' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
