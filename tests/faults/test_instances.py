"""Every way in which a request for an instance can fail: once temporarily, and once permanently.

Temporarily: the run completes, and `retries` counts the failure. Permanently: exactly that instance is named, with the
right code, after exactly as many attempts as were allowed, and nothing happens to its neighbours.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ArchiveUnreachable, TimedOut
from bulkdl.model.reports.base import RunOutcome
from tests.support.bad_archive import DICOM, QUICK, BadArchive, endpoint_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer, redirect
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.wrong_answers import CIRCLE, FAULTS, FOR_GOOD, Wrong, flipped

MADE_UP = list(instances(series=2, per_series=4))
VICTIM = MADE_UP[2]
IMPATIENT = {"answer_seconds": 1.5, "silence_seconds": 1.5}  # for what is silent alone: a busy machine is slow as well
ATTEMPTS = 3
MOST_REDIRECTS = 5


def failing(wrong: Wrong, *, times: int) -> Callable[[Seen], Action | None]:
    def fault(seen: Seen) -> Action | None:
        if endpoint_of(seen) != "getSingleImage" or seen.query["SOPInstanceUID"] != VICTIM.sop_uid:
            return None
        return wrong(VICTIM) if seen.ordinal <= times or CIRCLE in seen.query else None

    return fault


@pytest.mark.parametrize("name", FAULTS)
async def test_what_fails_in_passing_is_repeated_and_counted(tmp_path: Path, name: str) -> None:
    wrong, code = FAULTS[name]
    async with BadArchive(MADE_UP, failing(wrong, times=1)) as archive:
        access = IMPATIENT if code == TimedOut.code else None
        report = await archive.mirror(tmp_path, access=access, give_up_after_seconds=20.0)
        assert report.outcome is RunOutcome.COMPLETE
        assert report.retries == 1
        assert report.requests == len(archive.server.requests)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)
    assert journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)


@pytest.mark.parametrize("name", [*FAULTS, *FOR_GOOD])
async def test_a_permanent_failure_is_named_and_all_others_are_complete(tmp_path: Path, name: str) -> None:
    wrong, code = {**FAULTS, **FOR_GOOD}[name]
    attempts = 1 if name in FOR_GOOD else ATTEMPTS
    async with BadArchive(MADE_UP, failing(wrong, times=10**6)) as archive:
        access = IMPATIENT if code == TimedOut.code else None
        report = await archive.mirror(tmp_path, access=access, max_attempts=ATTEMPTS)
        asked = [seen for seen in archive.asked("getSingleImage") if seen.query["SOPInstanceUID"] == VICTIM.sop_uid]
    assert report.outcome is RunOutcome.PARTIAL
    (failure,) = report.failures
    assert (failure.series, failure.instance, failure.attempts) == (VICTIM.series_uid, VICTIM.sop_uid, attempts)
    assert failure.error == code
    assert failure.message
    assert "\n" not in failure.message
    assert len(asked) == attempts * (1 + MOST_REDIRECTS if name == "redirected in a circle" else 1)
    assert report.retries == attempts - 1
    assert report.instances.failed + report.instances.quarantined == 1
    assert report.instances.fetched == len(MADE_UP) - 1
    rest = checksums_of([one for one in MADE_UP if one is not VICTIM])
    assert checksums_on_disk(tmp_path / "mirror") == rest
    assert journalled_checksums(tmp_path / "mirror") == rest


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_series_that_is_not_answered_keeps_no_other_one_from_being_downloaded(
    tmp_path: Path, workers: int
) -> None:
    """Nor does it do so when the run is resumed, which asks for no list that would be answered."""
    made_up = list(instances(series=3, per_series=40))

    def interrupted(seen: Seen) -> Action | None:
        return answer(b"", status=504) if endpoint_of(seen) == "getSingleImage" else None

    settings = replace(QUICK, workers=workers, max_attempts=8, give_up_after_seconds=60.0)
    async with BadArchive(made_up, interrupted) as archive:
        with pytest.raises(ArchiveUnreachable):
            await archive.mirror(tmp_path, max_attempts=8, give_up_after_seconds=1.0)
        first = archive.asked("getSingleImage")[0].query["SeriesInstanceUID"]
        waiting = {one.sop_uid for one in made_up if one.series_uid != first}

        def unanswered_until_others_are(seen: Seen) -> Action | None:
            waiting.discard(seen.query.get("SOPInstanceUID", ""))
            return interrupted(seen) if waiting and seen.query.get("SeriesInstanceUID") == first else None

        archive.fault = unanswered_until_others_are
        report = await bulkdl.resume_async(tmp_path / "mirror", settings=settings)
    assert report.instances.fetched >= 80
    assert {failure.series for failure in report.failures} <= {first}


@pytest.mark.parametrize("knows", [True, False], ids=["with a checksum", "without"])
async def test_an_invalid_file_of_the_archive_differs_from_damage_on_the_way(tmp_path: Path, *, knows: bool) -> None:
    damaged = replace(VICTIM, content=flipped(VICTIM.content))
    made_up = [damaged if one is VICTIM else one for one in MADE_UP]
    async with BadArchive(made_up) as archive:
        archive.knows_checksums = knows
        report = await archive.mirror(tmp_path)
    (failure,) = report.failures
    assert (failure.instance, failure.error) == (VICTIM.sop_uid, "unsound-at-source")
    assert failure.attempts == (1 if knows else 2)
    assert report.instances.quarantined == 1


@pytest.mark.parametrize("knows", [True, False], ids=["with a checksum", "without"])
async def test_an_invalid_file_is_stored_if_that_is_requested(tmp_path: Path, *, knows: bool) -> None:
    damaged = replace(VICTIM, content=flipped(VICTIM.content))
    made_up = [damaged if one is VICTIM else one for one in MADE_UP]
    async with BadArchive(made_up) as archive:
        archive.knows_checksums = knows
        report = await archive.mirror(tmp_path, accept_unsound=True)
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)


@pytest.mark.parametrize("knows", [True, False], ids=["with a checksum", "without"])
async def test_an_invalid_file_is_stored_from_quarantine_without_a_request(tmp_path: Path, *, knows: bool) -> None:
    damaged = replace(VICTIM, content=flipped(VICTIM.content))
    made_up = [damaged if one is VICTIM else one for one in MADE_UP]
    mirror = tmp_path / "mirror"
    async with BadArchive(made_up) as archive:
        archive.knows_checksums = knows
        await archive.mirror(tmp_path)
        asked = archive.object_requests()
        report = await archive.mirror(tmp_path, accept_unsound=True)
        assert archive.object_requests() == asked
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 0)
    assert checksums_on_disk(mirror) == checksums_of(made_up)


async def test_a_file_that_was_damaged_on_the_way_is_not_stored_from_quarantine(tmp_path: Path) -> None:
    damage = {"is_on": True}

    def fault(seen: Seen) -> Action | None:
        is_it = endpoint_of(seen) == "getSingleImage" and seen.query["SOPInstanceUID"] == VICTIM.sop_uid
        return answer(flipped(VICTIM.content), headers=DICOM) if is_it and damage["is_on"] else None

    async with BadArchive(MADE_UP, fault) as archive:
        archive.knows_checksums = True
        first = await archive.mirror(tmp_path)
        damage["is_on"] = False
        asked = archive.object_requests()
        report = await archive.mirror(tmp_path, accept_unsound=True)
        assert archive.object_requests() == asked + 1
    assert (first.instances.quarantined, report.outcome) == (1, RunOutcome.COMPLETE)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_an_archive_that_sends_gzip_unasked_is_understood(tmp_path: Path) -> None:
    def fault(seen: Seen) -> Action | None:
        if endpoint_of(seen) != "getSingleImage":
            return None
        found = next(one for one in MADE_UP if one.sop_uid == seen.query["SOPInstanceUID"])
        return answer(gzip.compress(found.content), headers={**DICOM, "Content-Encoding": "gzip"})

    async with BadArchive(MADE_UP, fault) as archive:
        report = await archive.mirror(tmp_path)
    assert (report.outcome, report.retries) == (RunOutcome.COMPLETE, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed_to_another_server(tmp_path: Path, status: int) -> None:
    async with BadArchive(MADE_UP) as elsewhere:

        def fault(seen: Seen) -> Action | None:
            is_object = endpoint_of(seen) == "getSingleImage"
            return redirect(elsewhere.server.url.rstrip("/") + seen.target, status=status) if is_object else None

        async with BadArchive(MADE_UP, fault) as archive:
            report = await archive.mirror(tmp_path)
            sent = len(archive.server.requests) + len(elsewhere.server.requests)
    assert (report.outcome, report.retries, report.requests) == (RunOutcome.COMPLETE, 0, sent)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)
