"""Made-up instances in folders, and scans of them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from bulkdl.server.catalogue import Catalogue, Root, ScanReport
from tests.support.dicom_files import instances


def scan(catalogue: Path, *roots: Path | Root, collection: str | None = None) -> ScanReport:
    with Catalogue.open(catalogue) as opened:
        return opened.scan([r if isinstance(r, Root) else Root(r) for r in roots], collection=collection)


def one(**attributes: object) -> bytes:
    """A made-up instance with changed attributes; None removes one."""
    made: Dataset = dcmread(BytesIO(next(instances(series=1, per_series=1)).content))
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
