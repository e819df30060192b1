"""What a user's type checker sees; mypy checks this file with the rest of the tests, and nothing runs it."""

from __future__ import annotations

from typing import assert_type

import bulkdl
from bulkdl.model.reports.adopt import AdoptReport
from bulkdl.model.reports.plan import PlanReport
from bulkdl.model.reports.run import RunReport
from bulkdl.model.reports.status import StatusReport
from bulkdl.model.reports.verify import VerifyReport


def blocking() -> None:
    """The examples of the README, and one call of each blocking verb."""
    assert_type(bulkdl.plan(collection="RIDER-Lung-CT"), PlanReport)
    report = bulkdl.mirror(collection="RIDER-Lung-CT", modality=["CT", "MR"], to="/data/rider")
    assert_type(report, RunReport)
    bulkdl.query("getSeries", collection="RIDER-Lung-CT").to_pandas()
    assert_type(bulkdl.resume("/data/rider", settings=bulkdl.FetchSettings(workers=2)), RunReport)
    assert_type(bulkdl.verify("/data/rider", remote=True, from_start=True), VerifyReport)
    assert_type(bulkdl.status("/data/rider"), StatusReport)
    assert_type(bulkdl.adopt("/data/other", to="/data/rider"), AdoptReport)
    assert_type(bulkdl.archives("demo")[0].answers, bool)
    assert_type(bulkdl.describe("getSeries").source, str)
    with bulkdl.serve("/data/rider", port=0) as served:
        assert_type(served.url, str)


async def asynchronous() -> None:
    """The README's asynchronous example."""
    assert_type(await bulkdl.mirror_async(collection="RIDER-Lung-CT", to="/data/rider"), RunReport)
    async with bulkdl.connect("tcia") as archive:
        async for series in archive.get_series(collection="RIDER-Lung-CT", modality="CT"):
            _ = series.series_uid, series.image_count


def wrong() -> None:
    """What a type checker must refuse."""
    bulkdl.mirror(collection="RIDER-Lung-CT")  # type: ignore[call-arg] # `to` is missing
    bulkdl.verify("/data/rider", qick=True)  # type: ignore[call-arg] # there is no such option
