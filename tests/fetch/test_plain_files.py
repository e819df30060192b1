"""Files that are not DICOM: what is checked of them, what is not, and that a hostile one cannot hold up a run."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bulkdl.dicom.validation import ValidationResult
from bulkdl.errors import InvalidInstance
from bulkdl.fetch.plain_files import PlainFileValidator
from bulkdl.fetch.targets import FileNames, Target
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import NOT_CHECKED, NOT_DECODED
from bulkdl.model.records import Entry
from bulkdl.model.settings import ValidationLevel
from tests.support.pathdb_server import slide_bytes

SLIDE = slide_bytes(1)


def target(name: str) -> Target:
    entry = Entry("key", SopInstanceUid("2.25.1"))
    return Target(SeriesUid("2.25.2"), entry, "folder", name, entry.sop_uid, FileNames(()))


@pytest.fixture
async def validator() -> AsyncIterator[PlainFileValidator]:
    async with PlainFileValidator(ValidationLevel.STRUCTURE) as validator:
        yield validator


def notes_of(found: ValidationResult | InvalidInstance) -> list[str]:
    assert isinstance(found, ValidationResult)
    return [note.partition(":")[0] for note in found.notes]


async def test_a_slide_is_checked_as_bytes_and_as_a_file(validator: PlainFileValidator, tmp_path: Path) -> None:
    path = tmp_path / "slide"
    path.write_bytes(SLIDE)
    for source in (SLIDE, path):
        found = await validator.validate(source, target("a.svs"))
        assert notes_of(found) == []
    path.write_bytes(SLIDE[:-400])
    for source in (SLIDE[:-400], path):
        assert isinstance(await validator.validate(source, target("a.svs")), InvalidInstance)


async def test_of_other_files_nothing_is_claimed(validator: PlainFileValidator) -> None:
    assert notes_of(await validator.validate(b"a,b\n", target("a.csv"))) == [NOT_CHECKED]
    assert notes_of(await validator.validate(SLIDE, target("scan"))) == []  # a slide by its first bytes


async def test_what_is_named_a_slide_has_to_be_one(validator: PlainFileValidator) -> None:
    assert isinstance(await validator.validate(b"<html>", target("a.ndpi")), InvalidInstance)


@pytest.mark.parametrize(("level", "note"), [("header", NOT_CHECKED), ("pixels", NOT_DECODED)])
async def test_levels_say_what_they_leave_out(level: str, note: str) -> None:
    async with PlainFileValidator(ValidationLevel(level)) as validator:
        assert notes_of(await validator.validate(SLIDE, target("a.tif"))) == [note]


async def test_without_tifffile_the_container_is_said_to_be_unchecked(
    validator: PlainFileValidator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert notes_of(await validator.validate(SLIDE[:-400], target("a.svs"))) == [NOT_CHECKED]


async def test_a_reader_that_dies_on_a_slide_makes_it_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECODER_DIES_BY", "6")
    async with PlainFileValidator(ValidationLevel.STRUCTURE, "tests.support.dying_decoder") as validator:
        found = await validator.validate(SLIDE, target("a.svs"))
        assert isinstance(found, InvalidInstance)
        assert "the reader crashed" in str(found)
