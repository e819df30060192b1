"""The states of an instance, and the moves between them."""

from __future__ import annotations

from bulkdl.model.states import STATE_AFTER, InstanceState, Outcome, may_become


def test_every_outcome_leads_to_a_state_that_an_owed_instance_may_take() -> None:
    assert set(STATE_AFTER) == set(Outcome)
    assert all(may_become(InstanceState.OWED, state) for state in STATE_AFTER.values())


def test_every_state_but_held_and_owed_can_be_left_only_for_another_try_or_a_return() -> None:
    for state in (InstanceState.FAILED, InstanceState.QUARANTINED):
        assert [after for after in InstanceState if may_become(state, after)] == [InstanceState.OWED]


def test_no_state_is_a_dead_end() -> None:
    for state in InstanceState:
        assert any(may_become(state, after) for after in InstanceState)


def test_what_is_held_is_not_failed_by_a_later_run() -> None:
    """A mirror never loses what it has because an archive cannot be reached."""
    assert not may_become(InstanceState.HELD, InstanceState.FAILED)
    assert not may_become(InstanceState.HELD, InstanceState.QUARANTINED)


def test_what_was_withdrawn_may_be_offered_again() -> None:
    assert may_become(InstanceState.WITHDRAWN, InstanceState.HELD)
