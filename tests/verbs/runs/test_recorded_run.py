"""What changes a mirror without an archive is a run in its log, also if it fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import bulkdl
from bulkdl.model.reports.base import RunOutcome
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from bulkdl.verbs.runs.recorded_run import recorded_run
from tests.support.dicom_files import instances
from tests.support.layouts import mirror_of


@pytest.mark.parametrize(
    ("error", "outcome"), [(ZeroDivisionError, "failed"), (asyncio.CancelledError, "interrupted")], ids=str
)
async def test_a_run_is_recorded_with_its_outcome(tmp_path: Path, error: type[BaseException], outcome: str) -> None:
    mirror = await mirror_of(list(instances(series=1, per_series=1)), tmp_path)
    async with open_mirror(mirror, "prune") as opened:
        async with recorded_run(opened, "prune", {}) as run:
            run.outcome, run.counts = RunOutcome.COMPLETE, {"changes": {"removed_files": 2}}
        with pytest.raises(error):
            async with recorded_run(opened, "prune", {}):
                raise error
    ended, failed = bulkdl.log(mirror).runs[-2:]
    assert (ended.verb, ended.outcome, ended.changes) == ("prune", "complete", {"removed_files": 2})
    assert (failed.verb, failed.outcome, failed.archive) == ("prune", outcome, ended.archive)


async def test_a_mirror_without_any_run_has_none_then_either(tmp_path: Path) -> None:
    async with open_mirror(tmp_path / "m", "prune") as opened, recorded_run(opened, "prune", {}):
        pass
    assert bulkdl.log(tmp_path / "m").runs == ()
