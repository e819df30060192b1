"""`sync_plan` says what `sync` would find, and writes nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import bulkdl
from bulkdl.model.reports import Changes
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import instances, padded
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
