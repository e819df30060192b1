"""Where the DICOM files that come with pydicom, and with pydicom-data, lie. Neither package is imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def pydicom_samples() -> Path | None:
    """The folder of the files that come with pydicom itself; None where a distributor left them out."""
    return _folder_of("pydicom", "data")


def pydicom_data_samples() -> Path | None:
    """The folder of pydicom-data, which is an extra (`bulkdl[demo]`); None where it is not installed."""
    return _folder_of("data_store", "data")


def _folder_of(package: str, name: str) -> Path | None:
    found = importlib.util.find_spec(package)  # looks for a top-level package, and imports nothing
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / name
    return folder if folder.is_dir() else None
