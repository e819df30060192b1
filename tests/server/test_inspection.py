"""Reading pictures and attributes in a process with limits. `tests/attacks` has the hostile files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from bulkdl.errors import InvalidInstance
from bulkdl.server.catalogue import Catalogue, Root, ServedFile
from bulkdl.server.inspection import Inspection, Inspector
from tests.attacks.hostile_files import HOSTILE
from tests.support.dicom_files import instances, write_folder


@pytest.fixture
async def inspector() -> AsyncIterator[Inspector]:
    made = Inspector()
    yield made
    await made.close()


def served(tmp_path: Path, content: bytes | None = None) -> ServedFile:
    (one,) = write_folder(tmp_path / "folder", instances(series=1, per_series=1, rows=64))
    if content is not None:
        (tmp_path / "folder" / one.path).write_bytes(content)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(tmp_path / "folder")])
        (file,) = catalogue.files(one.series_uid)
    return file


async def test_reads_pictures_and_attributes_one_after_the_other(inspector: Inspector, tmp_path: Path) -> None:
    file = served(tmp_path)
    for _ in range(2):
        assert (await inspector.read(Inspection.THUMBNAIL, file))[:2] == b"\xff\xd8"
        tags = await inspector.read(Inspection.TAGS, file)
        assert ("SOP Instance UID", file.sop_uid) in [(tag.name, tag.data) for tag in tags]


async def test_a_file_that_has_changed_since_the_scan_is_not_read(inspector: Inspector, tmp_path: Path) -> None:
    file = replace(served(tmp_path), size_bytes=1)
    for what in Inspection:
        with pytest.raises(InvalidInstance, match="has changed since the scan"):
            await inspector.read(what, file)


async def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    file = served(tmp_path)
    inspector = Inspector(seconds=0.0)
    with pytest.raises(InvalidInstance, match="too much memory or time"):
        await inspector.read(Inspection.TAGS, file)
    await inspector.close()


@pytest.mark.parametrize(("refuse_seconds", "is_refused"), [(600.0, True), (0.0, False)])
async def test_a_file_that_was_given_up_is_refused_for_a_while(
    tmp_path: Path, refuse_seconds: float, *, is_refused: bool
) -> None:
    file, other = served(tmp_path), served(tmp_path / "other")
    inspector = Inspector(seconds=0.0, refuse_seconds=refuse_seconds)
    with pytest.raises(InvalidInstance, match="too much memory or time"):
        await inspector.read(Inspection.TAGS, file)
    inspector.seconds = 60.0
    assert await inspector.read(Inspection.TAGS, other)
    with pytest.raises(InvalidInstance, match="too much") if is_refused else nullcontext():
        assert await inspector.read(Inspection.TAGS, file)
    await inspector.close()


async def test_a_file_that_takes_too_much_memory_is_given_up_and_the_next_is_read(
    inspector: Inspector, tmp_path: Path
) -> None:
    (one,) = instances(series=1, per_series=1, rows=64)
    hostile = served(tmp_path / "hostile", HOSTILE["a segmented palette"](one))
    with pytest.raises(InvalidInstance):
        await inspector.read(Inspection.THUMBNAIL, hostile)
    assert await inspector.read(Inspection.THUMBNAIL, served(tmp_path / "other"))
