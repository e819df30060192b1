"""Which transport a Series takes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.fetch.transport_choice import TransportChooser
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.settings import Transport
from tests.support.journals import listed

SINGLE, ZIP = Transport.SINGLE, Transport.ZIP


def work(owed: int, *, of: int | None = None, size_bytes: int | None = 10_000_000) -> SeriesWork:
    return SeriesWork(
        series_uid=SeriesUid("1"),
        study_uid=None,
        folder="f",
        entries=tuple(listed(SopInstanceUid(f"1.{number}")) for number in range(owed)),
        names=tuple(f"1.{number}.dcm" for number in range(owed)),
        image_count=owed if of is None else of,
        size_bytes=size_bytes,
        whole=of is None,
    )


def choices(chooser: TransportChooser, count: int = 120, series: SeriesWork | None = None) -> list[Transport]:
    return [chooser.choose(series or work(100)) for _ in range(count)]


def learn(
    chooser: TransportChooser,
    transport: Transport,
    *,
    seconds: float,
    instances: int = 1,
    size_bytes: int = 0,
    in_flight: tuple[int, int] = (1, 1),
) -> None:
    chooser.measured(transport, instances=instances, size_bytes=size_bytes, seconds=seconds, in_flight=in_flight)


def informed(*, single: float, bundle: float) -> TransportChooser:
    """A chooser that has measured these seconds for an instance."""
    chooser = TransportChooser(Transport.AUTO)
    learn(chooser, SINGLE, seconds=single)
    learn(chooser, ZIP, instances=100, seconds=100 * bundle)
    return chooser


def test_the_cheaper_transport_carries_nearly_everything() -> None:
    assert choices(informed(single=1, bundle=2)).count(SINGLE) >= 108
    assert choices(informed(single=2, bundle=1)).count(ZIP) >= 108


@pytest.mark.parametrize(("single", "bundle", "other"), [(1, 2, ZIP), (2, 1, SINGLE)])
def test_the_other_is_tried_now_and_then(single: float, bundle: float, other: Transport) -> None:
    assert 2 <= choices(informed(single=single, bundle=bundle)).count(other) <= 12


def test_an_archive_that_changes_is_noticed() -> None:
    chooser = informed(single=1, bundle=2)
    for _ in range(10):
        learn(chooser, SINGLE, seconds=4)
    assert choices(chooser).count(ZIP) >= 108


def test_while_nothing_is_known_small_instances_begin_with_zips_and_large_ones_without() -> None:
    small, large = work(100, size_bytes=1_000_000), work(100, size_bytes=50_000_000)
    assert set(choices(TransportChooser(Transport.AUTO), 20, small)) == {ZIP}
    assert set(choices(TransportChooser(Transport.AUTO), 20, large)) == {SINGLE}


def test_instances_of_unknown_size_count_as_large() -> None:
    assert TransportChooser(Transport.AUTO).choose(work(100, size_bytes=None)) is SINGLE


def test_once_an_instance_was_small_zips_are_thought_to_pay() -> None:
    chooser = TransportChooser(Transport.AUTO)
    learn(chooser, SINGLE, seconds=0.1, size_bytes=10_000)
    assert chooser.choose(work(100, size_bytes=None)) is ZIP


def test_what_is_measured_is_not_tried_until_the_other_is() -> None:
    chooser = TransportChooser(Transport.AUTO)
    learn(chooser, SINGLE, seconds=0.1, size_bytes=10_000)
    assert set(choices(chooser, series=work(100, size_bytes=None))) == {ZIP}


def test_a_twin_knows_as_much_and_tries_nothing_at_once() -> None:
    chooser = informed(single=2, bundle=1)
    choices(chooser, 23)
    assert set(choices(chooser.twin(), 20)) == {ZIP}


def test_trials_become_frequent_again_when_the_other_transport_pays() -> None:
    chooser = informed(single=1, bundle=2)
    choices(chooser, 300)
    for _ in range(10):
        learn(chooser, ZIP, instances=100, seconds=50)
    trials = [number for number, transport in enumerate(choices(chooser, 300), 1) if transport is SINGLE]
    assert [after - before for before, after in pairwise(trials)][:2] == [24, 48]


def test_one_odd_measurement_changes_no_choice() -> None:
    chooser = informed(single=1, bundle=0.8)
    learn(chooser, SINGLE, seconds=0.5)
    assert not chooser.prefers_singles(work(100))


def test_a_twin_knows_how_large_instances_are() -> None:
    chooser = TransportChooser(Transport.AUTO)
    learn(chooser, SINGLE, seconds=1, instances=6, size_bytes=6000)
    assert chooser.twin().choose(work(100, size_bytes=None)) is ZIP


def test_trials_that_teach_nothing_become_rarer() -> None:
    chosen = choices(informed(single=1, bundle=2), 300)
    trials = [number for number, transport in enumerate(chosen, 1) if transport is ZIP]
    assert [after - before for before, after in pairwise(trials)] == [24, 48, 96, 96]


@pytest.mark.parametrize(("single", "bundle", "dear"), [(50, 1, SINGLE), (1, 50, ZIP)])
def test_a_transport_that_costs_far_more_is_tried_as_rarely_as_it_may_cost(
    single: float, bundle: float, dear: Transport
) -> None:
    chosen = choices(informed(single=single, bundle=bundle), 2000)
    lost, spent = 49 * chosen.count(dear), len(chosen)
    assert 0 < lost <= 0.05 * spent


def test_trials_are_made_on_small_series_only() -> None:
    large = work(100, size_bytes=200_000_000)
    assert set(choices(TransportChooser(Transport.AUTO), series=large)) == {SINGLE}
    assert set(choices(informed(single=1, bundle=2), series=large)) == {SINGLE}


@pytest.mark.parametrize(
    "series",
    [work(3), work(100, size_bytes=2 << 30), work(50, of=100), work(3, of=3 + 1)],
    ids=["few instances", "a huge zip", "half is held already", "few are owed"],
)
def test_a_zip_must_be_worth_it(series: SeriesWork) -> None:
    assert set(choices(informed(single=9, bundle=1), series=series)) == {SINGLE}


def test_a_series_of_which_little_is_held_may_come_as_a_zip() -> None:
    assert informed(single=9, bundle=1).choose(work(90, of=100)) is ZIP


def test_where_each_instance_is_to_come_once_a_zip_has_none_that_is_held() -> None:
    chooser = TransportChooser(ZIP, once=True)
    assert (chooser.choose(work(90, of=100)), chooser.twin().choose(work(90, of=100))) == (SINGLE, SINGLE)
    assert chooser.choose(work(100)) is ZIP


def test_a_fixed_transport_is_kept() -> None:
    assert set(choices(TransportChooser(SINGLE))) == {SINGLE}
    assert set(choices(TransportChooser(ZIP))) == {ZIP}
    assert TransportChooser(ZIP).choose(work(1)) is ZIP


def test_the_rest_of_a_series_comes_one_by_one_even_if_zips_are_wanted() -> None:
    """What is held already would come once more."""
    assert TransportChooser(ZIP).choose(work(1, of=100)) is SINGLE


@given(
    transport=st.sampled_from(Transport),
    owed=st.integers(0, 50),
    of=st.none() | st.integers(0, 100),
    size=st.none() | st.integers(0, 2**40),
    costs=st.lists(st.tuples(st.sampled_from([SINGLE, ZIP]), st.integers(0, 5), st.floats(0, 1e6))),
)
def test_there_is_always_a_choice(
    transport: Transport, owed: int, of: int | None, size: int | None, costs: list[tuple[Transport, int, float]]
) -> None:
    chooser = TransportChooser(transport)
    for kind, instances, seconds in costs:
        learn(chooser, kind, instances=instances, seconds=seconds)
    assert chooser.choose(work(owed, of=of, size_bytes=size)) in {SINGLE, ZIP}


def test_where_our_own_core_is_the_limit_a_request_is_spared_but_no_large_body_is_inflated() -> None:
    # Sixteen in flight on loopback: what a permit is held for is the wait for our own core.
    for size_bytes, expected in ((10_000, ZIP), (500_000, SINGLE)):
        chooser = TransportChooser(Transport.AUTO)
        learn(chooser, SINGLE, seconds=0.016, size_bytes=size_bytes, in_flight=(16, 16))
        learn(chooser, ZIP, seconds=1.6, instances=100, size_bytes=100 * size_bytes, in_flight=(16, 16))
        assert choices(chooser).count(expected) >= 100


def test_a_permit_held_long_by_many_in_flight_costs_no_more_than_its_share() -> None:
    chooser = TransportChooser(Transport.AUTO)
    learn(chooser, SINGLE, seconds=0.1, in_flight=(100, 100))  # 1 ms each
    learn(chooser, ZIP, seconds=1, instances=100, in_flight=(2, 2))  # 5 ms each
    assert choices(chooser).count(SINGLE) >= 100


def test_a_zip_that_began_first_is_not_thought_to_be_dear() -> None:
    chooser = TransportChooser(Transport.AUTO)
    learn(chooser, SINGLE, seconds=0.08, in_flight=(40, 40))  # 2 ms each
    learn(chooser, ZIP, seconds=0.9, instances=100, in_flight=(1, 16))  # 1 ms each
    assert choices(chooser).count(ZIP) >= 100


def test_a_zip_that_ends_last_is_not_thought_to_be_dear() -> None:
    chooser = TransportChooser(Transport.AUTO)
    learn(chooser, SINGLE, seconds=0.08, in_flight=(40, 40))  # 2 ms each
    learn(chooser, ZIP, seconds=0.9, instances=100, in_flight=(16, 1))  # 1 ms each
    assert choices(chooser).count(ZIP) >= 100
