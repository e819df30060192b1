"""A mirror of an archive that changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bulkdl
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import RunReport
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import MadeUp


async def mirrored(archive: BadArchive, folder: Path) -> Path:
    """A complete mirror of the collection MADE-UP."""
    report = await bulkdl.mirror_async("MADE-UP", to=folder / "mirror", archive=archive.choice(folder), settings=QUICK)
    assert report.outcome is RunOutcome.COMPLETE
    return folder / "mirror"


async def synced(archive: BadArchive, mirror: Path, now: Sequence[MadeUp], **options: Any) -> RunReport:
    """Sync after the archive has changed to `now`."""
    archive.made_up = list(now)
    choice = archive.choice(mirror.parent)
    return await bulkdl.sync_async(mirror, archive=choice, settings=QUICK, **options)
