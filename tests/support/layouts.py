"""Mirrors in some layout, made by adopting files: no archive is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bulkdl
from bulkdl.store.importing import ImportMode
from tests.support.dicom_files import MadeUp, instances
from tests.support.mirrors import checksums_on_disk, journalled_checksums

NUMBERED = "{Collection}/{PatientID}/{StudyID}x/{Modality}-{SeriesDescription}/{InstanceNumber}.dcm"


def numbered_instances() -> list[MadeUp]:
    """Two Series: in the first every instance has the same Instance Number, in the second each another."""
    first, second = list(instances(series=1, per_series=4)), list(instances(series=1, per_series=4, seed="second"))
    numbered = [
        replace(one, content=one.content.replace(b" \0\x13\0IS\2\0001 ", b" \0\x13\0IS\2\0%d " % number))
        for number, one in enumerate(second, start=1)
    ]
    return [*first, *numbered]


async def mirror_of(made_up: Sequence[MadeUp], folder: Path, layout: str = "bulkdl") -> Path:
    """A mirror of `made_up` in `folder`/mirror."""
    source = folder / "source"
    for one in made_up:
        path = source / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
    report = await bulkdl.adopt_async(source, to=folder / "mirror", layout=layout, by=ImportMode.COPY, archive="nbia")
    assert (report.adopted, report.refused) == (len(made_up), 0)
    return folder / "mirror"


def assert_holds(mirror: Path, made_up: Sequence[MadeUp]) -> None:
    """Every instance lies in the mirror once, where the journal has it, and nothing else does."""
    found = checksums_on_disk(mirror)
    assert sorted(found.values()) == sorted(hashlib.sha256(one.content).hexdigest() for one in made_up)
    assert journalled_checksums(mirror) == found
