"""What a run asks about Collections: at most one request for each, once, and never at the cost of the download."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from bulkdl.journal.journal import Journal
from bulkdl.model.events import Event, Noted
from bulkdl.model.records import Patient
from bulkdl.model.reports.base import RunOutcome
from bulkdl.runtime.disk import JOURNAL
from bulkdl.verbs.sync import sync_async
from tests.support.bad_archive import JSON, QUICK, BadArchive, endpoint_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer, stall

MADE_UP = list(instances(series=2, per_series=2))
COLLECTION = MADE_UP[0].collection
STUDIES = "getPatientStudy"
Answer: TypeAlias = Callable[[Seen], Action]


def answering(with_what: Answer) -> Callable[[Seen], Action | None]:
    return lambda seen: with_what(seen) if endpoint_of(seen) == STUDIES else None


def studies(_: Seen) -> Action:
    """The Studies of the made-up instances, with the sex of each Patient."""
    rows = {
        one.study_uid: {
            "StudyInstanceUID": one.study_uid,
            "PatientID": one.patient_id,
            "PatientSex": "F",
            "Collection": one.collection,
        }
        for one in MADE_UP
    }
    return answer(json.dumps(list(rows.values())).encode(), headers=JSON)


def patient(mirror: Path) -> Patient | None:
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        return journal.find_patient(COLLECTION, MADE_UP[0].patient_id)


def notes(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Noted) and "did not describe" in event.message]


async def test_a_collection_is_asked_for_once(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, answering(studies)) as archive:
        for _ in range(2):
            assert (await archive.mirror(tmp_path)).outcome is RunOutcome.COMPLETE
        await archive.resume(tmp_path)
        assert len(archive.asked(STUDIES)) == 1
    found = patient(tmp_path / "mirror")
    assert found is not None
    assert found.sex == "F"


async def test_sync_of_what_is_known_does_not_ask_again(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, answering(studies)) as archive:
        await archive.mirror(tmp_path)
        await sync_async(tmp_path / "mirror", archive=archive.choice(tmp_path), settings=QUICK)
        assert len(archive.asked(STUDIES)) == 1


async def test_a_new_study_is_asked_for(tmp_path: Path) -> None:
    more = [replace(one) for one in instances(series=3, per_series=2)]
    async with BadArchive(MADE_UP, answering(studies)) as archive:
        await archive.mirror(tmp_path)
        archive.made_up = more
        await archive.mirror(tmp_path)
        await archive.mirror(tmp_path)
        assert len(archive.asked(STUDIES)) == 2


@pytest.mark.parametrize("status", [403, 404, 400])
async def test_an_archive_without_the_endpoint_is_asked_once_and_without_a_word(tmp_path: Path, status: int) -> None:
    events: list[Event] = []
    async with BadArchive(MADE_UP, answering(lambda _: answer(b"no", status=status))) as archive:
        for _ in range(2):
            report = await archive.mirror(tmp_path, sink=events.append)
            assert report.outcome is RunOutcome.COMPLETE
        assert len(archive.asked(STUDIES)) == 1
    assert notes(events) == []


@pytest.mark.parametrize(
    "fault", [lambda _: answer(b"<html>"), lambda _: answer(b"", status=500), lambda _: stall(asyncio.Event())]
)
async def test_a_failure_is_said_and_costs_nothing_else(tmp_path: Path, fault: Answer) -> None:
    events: list[Event] = []
    async with BadArchive(MADE_UP, answering(fault)) as archive:
        report = await archive.mirror(tmp_path, sink=events.append, give_up_after_seconds=0.5)
        assert report.outcome is RunOutcome.COMPLETE
        assert report.failures == ()
        assert len(notes(events)) == 1
        archive.fault = answering(studies)
        await archive.mirror(tmp_path)
    assert patient(tmp_path / "mirror") is not None


async def test_a_mirror_of_an_earlier_version_is_described_by_its_next_run(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        with closing(sqlite3.connect(tmp_path / "mirror" / JOURNAL)) as database:
            database.executescript("DELETE FROM collection; DELETE FROM study;")
        archive.fault = answering(studies)
        asked = len(archive.server.requests)
        assert (await archive.resume(tmp_path)).outcome is RunOutcome.COMPLETE
        assert len(archive.server.requests) == asked, "nothing is owed, so no archive is needed"
        await archive.mirror(tmp_path)
    assert patient(tmp_path / "mirror") is not None
