"""`verify --remote` compares complete Series with the archive, and says how they differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import RequestRejected
from bulkdl.model.reports import ProblemKind, VerifyReport
from tests.support.bad_archive import JSON, QUICK, BadArchive, Fault, endpoint_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer

MADE_UP = list(instances(series=1, per_series=3))
SIZE = sum(len(one.content) for one in MADE_UP)


async def compare(tmp_path: Path, fault: Fault) -> VerifyReport:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        archive.fault = fault
        return await bulkdl.verify_async(tmp_path / "mirror", quick=True, remote=True, settings=QUICK)


def says(count: int, size_bytes: int) -> Fault:
    rows = [{"TotalSizeInBytes": size_bytes, "ObjectCount": count}]

    def fault(seen: Seen) -> Action | None:
        return answer(json.dumps(rows).encode(), headers=JSON) if endpoint_of(seen) == "getSeriesSize" else None

    return fault


async def test_the_same_count_and_size_are_not_a_problem(tmp_path: Path) -> None:
    report = await compare(tmp_path, says(3, SIZE))
    assert (report.series_compared, report.problems) == (1, ())


async def test_another_count_and_size_are_named(tmp_path: Path) -> None:
    (problem,) = (await compare(tmp_path, says(4, SIZE + 1))).problems
    assert (problem.problem, problem.series) == (ProblemKind.DIFFERS, MADE_UP[0].series_uid)
    assert problem.message == f"3 instances here, 4 there, {SIZE:,} bytes here, {SIZE + 1:,} there"


async def test_an_archive_that_answers_for_no_series_is_not_said_to_differ(tmp_path: Path) -> None:
    def fail(seen: Seen) -> Action | None:
        return answer(b"", status=404) if endpoint_of(seen) == "getSeriesSize" else None

    with pytest.raises(RequestRejected, match="404"):  # every series: then the archive is the problem
        await compare(tmp_path, fail)
