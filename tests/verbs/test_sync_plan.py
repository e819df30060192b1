"""`sync_plan` says what `sync` would do, ignores the same doubtful lists, and writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.model.reports.run import Changes
from tests.support.bad_archive import JSON, QUICK, BadArchive, endpoint_of
from tests.support.dicom_files import MadeUp, instances, padded
from tests.support.faults import Action, Seen, answer
from tests.support.syncing import mirrored

MADE_UP = list(instances(series=6, per_series=2))
NEW = list(instances(series=1, per_series=3, seed="new"))


async def test_says_what_would_change_and_changes_nothing(tmp_path: Path) -> None:
    now = [padded(MADE_UP[2]), *MADE_UP[3:], *NEW]
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        before = hashlib.sha256((mirror / ".bulkdl" / "journal.sqlite").read_bytes()).digest()
        archive.made_up = now
        plan = await bulkdl.sync_plan_async(mirror, archive=archive.choice(tmp_path), settings=QUICK)
    assert plan.changes == Changes(new_series=1, changed_series=1, withdrawn_series=1)
    assert hashlib.sha256((mirror / ".bulkdl" / "journal.sqlite").read_bytes()).digest() == before


async def test_a_series_of_several_selections_counts_once(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        choice = archive.choice(tmp_path)
        await bulkdl.mirror_async(patient=MADE_UP[0].patient_id, to=mirror, archive=choice, settings=QUICK)
        same_patient = [replace(one, patient_id=MADE_UP[0].patient_id) for one in NEW]
        archive.made_up = [padded(MADE_UP[2]), *MADE_UP[3:], *same_patient]
        plan = await bulkdl.sync_plan_async(mirror, archive=choice, settings=QUICK)
    assert plan.changes == Changes(new_series=1, changed_series=1, withdrawn_series=1)


def by_uid_fails(seen: Seen) -> Action | None:
    asks = endpoint_of(seen) == "getSeries" and "SeriesInstanceUID" in seen.query
    return answer(b"[{", headers=JSON) if asks else None


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (MADE_UP[10:], "5 series with 10 of 12 files any more: nothing was marked as withdrawn"),
        (MADE_UP[2:], "getSeries"),
        ([*(replace(one, collection="OTHER") for one in MADE_UP[:2]), *MADE_UP[2:]], None),
    ],
    ids=["shrunken list", "question that fails", "another collection"],
)
async def test_what_sync_would_not_mark_is_not_withdrawn(
    now: Sequence[MadeUp], says: str | None, tmp_path: Path
) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        archive.made_up = list(now)
        if says == "getSeries":
            archive.fault = by_uid_fails
        plan = await bulkdl.sync_plan_async(mirror, archive=archive.choice(tmp_path), settings=QUICK)
        allowed = await bulkdl.sync_plan_async(
            mirror, archive=archive.choice(tmp_path), settings=QUICK, max_delete=len(MADE_UP)
        )
    assert plan.changes == Changes()
    assert [says in failure.message for failure in plan.failures if says] == ([True] if says else [])
    assert allowed.changes.withdrawn_series == (5 if len(now) == 2 else 0)
