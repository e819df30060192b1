from __future__ import annotations

import pytest

from bulkdl.errors import AccessDenied, ArchiveRefused
from bulkdl.fetch.refused_instances import RefusedInstances
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from tests.support.journals import outcome


def refused(series: int, number: int) -> InstanceOutcome:
    return outcome(series, number, Outcome.FAILED, error=AccessDenied.code)


def test_an_archive_that_refuses_instances_of_many_series_refuses_all() -> None:
    refusals = RefusedInstances()
    refusals.ended([refused(series, 0) for series in range(31)])
    with pytest.raises(ArchiveRefused, match="every instance is refused: no luck with 1"):
        refusals.ended([refused(5, 1)])
    refusals.ended([refused(series, 2) for series in range(99)])  # which is said once


@pytest.mark.parametrize(
    "outcomes",
    [
        [refused(number % 5, number) for number in range(99)],
        [refused(number, number) for number in range(31)],
        [outcome(9, 0), *(refused(number, number) for number in range(99))],
        [outcome(9, 0, Outcome.FAILED), *(refused(number, number) for number in range(99))],
    ],
    ids=["of five series", "few instances", "one is held", "one failed in another way"],
)
def test_other_refusals_are_of_single_instances(outcomes: list[InstanceOutcome]) -> None:
    refusals = RefusedInstances()
    for each in outcomes:
        refusals.ended([each])
    again = RefusedInstances()
    again.ended(outcomes)


def test_an_archive_that_has_accepted_a_request_does_not_refuse_all() -> None:
    refusals = RefusedInstances()
    refusals.accepts()
    refusals.ended([refused(number, number) for number in range(99)])
