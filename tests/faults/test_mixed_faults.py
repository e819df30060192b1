"""All faults at once, one answer in five: the short form of `python -m tests.stress.mixed_faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.settings import Transport
from tests.stress.mixed_faults import run_with_mixed_faults


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_run_with_all_faults_mixed_ends_well(tmp_path: Path, transport: Transport) -> None:
    found = await run_with_mixed_faults(tmp_path, instances_wanted=300, share=0.2, transport=transport, seed=20_200_102)
    assert found.wrong == ()
    assert found.served_wrong > 5
    assert found.report.outcome in {RunOutcome.COMPLETE, RunOutcome.PARTIAL}
