"""Builders for tests of the journal: UIDs, records and outcomes from small numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bulkdl.journal.journal import Journal
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import Entry, Series
from bulkdl.model.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bulkdl.journal.rows import Run

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EVERYTHING = Selection(everything=True)


def series_uid(number: int) -> SeriesUid:
    return SeriesUid(f"1.2.826.0.1.{number}")


def sop_uid(series: int, number: int) -> SopInstanceUid:
    return SopInstanceUid(f"1.2.826.0.1.{series}.{number:05d}")


def record(number: int, *, collection: str = "PHANTOM", image_count: int | None = None) -> Series:
    return Series(
        series_uid=series_uid(number),
        study_uid=StudyUid(f"1.2.826.0.2.{number // 2}"),
        patient_id=f"P{number // 4}",
        collection=collection,
        modality="CT",
        image_count=image_count,
        size_bytes=None if image_count is None else image_count * 1000,
        description="axial",
        submitted=NOW,
        released=NOW.date(),
    )


def folder(number: int) -> str:
    return f"PHANTOM/P{number // 4}/1.2.826.0.2.{number // 2}/{series_uid(number)}"


def outcome(series: int, number: int, kind: Outcome = Outcome.FETCHED, *, error: str = "unsound") -> InstanceOutcome:
    if kind in {Outcome.FETCHED, Outcome.REUSED}:
        return InstanceOutcome(
            series_uid=series_uid(series),
            key=sop_uid(series, number),
            sop_uid=sop_uid(series, number),
            outcome=kind,
            attempts=1,
            size_bytes=1000 + number,
            md5=bytes([number % 256]) * 16,
            sha256=bytes([number % 256]) * 32,
            mtime_ns=1_700_000_000_000_000_000 + number,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
        )
    return InstanceOutcome(
        series_uid=series_uid(series),
        key=sop_uid(series, number),
        sop_uid=sop_uid(series, number),
        outcome=kind,
        attempts=8,
        error=error,
        message=f"no luck with {number}",
    )


def begin(journal: Journal, selection: Selection | None = EVERYTHING, *, verb: str = "mirror") -> Run:
    return journal.begin_run(
        verb=verb,
        archive_name="tcia",
        archive_url="https://archive.example/services/v1",
        selection=selection,
        settings={},
        now=NOW,
    )


def record_listed(
    journal: Journal, run: Run, series: int, numbers: Iterable[int], *, collection: str = "PHANTOM"
) -> None:
    """Record a Series and these of its instances as owed."""
    numbers = list(numbers)
    journal.record_series(
        run, [(record(series, collection=collection, image_count=len(numbers)), folder(series))], now=NOW
    )
    list_instances(journal, run, series, numbers)


def list_instances(journal: Journal, run: Run, series: int, numbers: Iterable[int]) -> None:
    entries = [listed(sop_uid(series, number)) for number in numbers]
    if journal.record_instances(run, series_uid(series), entries, [None] * len(entries)):
        journal.end_listing(series_uid(series))


def listed(uid: SopInstanceUid) -> Entry:
    """The entry of an archive that lists UIDs alone."""
    return Entry(uid, uid)


def filled(path: Path, *, series: int, instances: int) -> Journal:
    """A journal in which all instances are held."""
    journal = Journal.create_or_open(path)
    run = begin(journal)
    for number in range(series):
        record_listed(journal, run, number, range(instances))
        journal.record_outcomes(run, [outcome(number, i) for i in range(instances)])
    return journal
