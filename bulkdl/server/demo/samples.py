"""Locate the DICOM files of the packages pydicom and pydicom-data, without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def pydicom_samples() -> Path | None:
    """The folder of pydicom's sample files; None if the installed package does not have them."""
    return _folder_of("pydicom", "data")


def pydicom_data_samples() -> Path | None:
    """The folder of pydicom-data, an extra (`bulkdl[demo]`); None if it is not installed."""
    return _folder_of("data_store", "data")


def _folder_of(package: str, name: str) -> Path | None:
    found = importlib.util.find_spec(package)  # imports nothing, for a top-level package
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / name
    return folder if folder.is_dir() else None
