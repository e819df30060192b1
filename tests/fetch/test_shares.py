"""The limits of a run hold for all its workers together, while workers join and leave."""

from __future__ import annotations

import random

import pytest

from bulkdl.fetch.shares import Share, Shares, divide

CEILINGS = [1, 2, 3, 8, 10, 256]
RATES = [None, 1.0, 1_000_000.0]


class Members:
    """Workers that note their shares, and check the limits whenever a share is handed out."""

    def __init__(self, whole: Share) -> None:
        self.whole = whole
        self.held: dict[Member, Share] = {}

    def check(self) -> None:
        assert sum(share.ceiling for share in self.held.values()) <= self.whole.ceiling
        if self.whole.rate_bytes is not None:
            rates = [share.rate_bytes for share in self.held.values()]
            assert sum(rate for rate in rates if rate is not None) <= self.whole.rate_bytes * (1 + 1e-9)
            assert None not in rates


class Member:
    """One worker."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def share(self, share: Share) -> None:
        """Keep the share, and check all of them."""
        assert share.ceiling >= 1
        self._members.held[self] = share
        self._members.check()


@pytest.mark.parametrize("ceiling", CEILINGS)
@pytest.mark.parametrize("rate", RATES)
def test_a_division_gives_out_all_and_no_more(ceiling: int, rate: float | None) -> None:
    for workers in range(1, min(ceiling, 8) + 1):
        shares = divide(Share(ceiling, rate), workers)
        ceilings = [share.ceiling for share in shares]
        assert sum(ceilings) == ceiling
        assert max(ceilings) - min(ceilings) <= 1
        assert {share.workers for share in shares} == {workers}
        if rate is None:
            assert {share.rate_bytes for share in shares} == {None}
        else:
            assert sum(share.rate_bytes or 0 for share in shares) == pytest.approx(rate)


@pytest.mark.parametrize("ceiling", CEILINGS)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", range(4))
def test_all_shares_together_never_exceed_the_limits(ceiling: int, rate: float | None, seed: int) -> None:
    """Eight workers join and leave in any order; the limits hold after each single share that is handed out."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    members = Members(Share(ceiling, rate))
    first = Member(members)
    members.held[first] = members.whole
    shares = Shares(members.whole, first.share)
    for _ in range(60):
        others = [member for member in members.held if member is not first]
        if shares.has_room and len(others) < 7 and (not others or chance.random() < 0.6):
            shares.join(Member(members).share)
        elif others:
            gone = chance.choice(others)
            del members.held[gone]
            shares.leave(gone.share)
        held = sorted(share.ceiling for share in members.held.values())
        assert sum(held) == ceiling
        assert held[-1] - held[0] <= 1


def test_no_more_workers_have_room_than_requests_in_flight() -> None:
    members = Members(Share(2))
    shares = Shares(members.whole, Member(members).share)
    assert shares.has_room
    shares.join(Member(members).share)
    assert not shares.has_room


def test_a_worker_that_left_changes_nothing_by_leaving_again() -> None:
    members = Members(Share(9, 9.0))
    first, second = Member(members), Member(members)
    shares = Shares(members.whole, first.share)
    shares.join(second.share)
    del members.held[second]
    for _ in range(2):
        shares.leave(second.share)
        assert members.held[first] == members.whole
