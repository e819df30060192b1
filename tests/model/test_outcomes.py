"""The states of an instance, and the outcomes that lead to them."""

from __future__ import annotations

from bulkdl.model.outcomes import STATE_AFTER, InstanceState, Outcome


def test_every_outcome_leads_to_a_state() -> None:
    assert set(STATE_AFTER) == set(Outcome)


def test_no_outcome_leaves_an_instance_owed_or_withdrawn() -> None:
    assert not {InstanceState.OWED, InstanceState.WITHDRAWN} & set(STATE_AFTER.values())
