"""A folder with a few Collections, whose names and values are hostile in part, served with its pages."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from pydicom import dcmread

from bulkdl.server.access import AccessRules, User
from bulkdl.server.catalogue import About, Root
from tests.support.dicom_files import MadeUp, instances
from tests.support.served import Served, served

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}'
SECRET = "SECRET-LUNG"  # noqa: S105 - a Collection
RULES = AccessRules(users={"alice": User("alice", "open sesame", frozenset({SECRET}))}, restricted=frozenset({SECRET}))
ABOUT = About(description=HOSTILE, citation="Doe & Co.", license_name="CC BY 4.0", license_uri="javascript:alert(1)")


def changed(one: MadeUp, **values: object) -> bytes:
    """The instance with other attributes."""
    dataset = dcmread(io.BytesIO(one.content))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for name, value in values.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_collections(folder: Path) -> list[MadeUp]:
    """OPEN has CT of two Patients, MIXED an MR with a hostile name, and one Collection is restricted."""
    made = [
        *instances(series=4, per_series=3, collection="OPEN", rows=16),
        *instances(series=1, per_series=1, collection="MIXED", rows=16),
        *instances(series=2, per_series=1, collection=SECRET, rows=16),
    ]
    for one in made:
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        values: dict[str, object] = {"SeriesDescription": f"Chest {one.collection.lower()}"}
        if one.collection == "MIXED":
            names = dict.fromkeys(("SeriesDescription", "StudyDescription", "PatientID", "Manufacturer"), HOSTILE[:64])
            values = {"Modality": "MR", "BodyPartExamined": "LIVER", **names}
        path.write_bytes(changed(one, **values))
    return made


@pytest_asyncio.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Served]:
    write_collections(tmp_path / "served")
    roots = [Root(tmp_path / "served" / name, name, ABOUT) for name in ("OPEN", "MIXED", SECRET)]
    async with served(*roots, catalogue=tmp_path / "catalogue.sqlite", rules=RULES) as running:
        yield running
