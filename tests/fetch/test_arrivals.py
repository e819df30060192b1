"""What has arrived is known before it is an instance: of bodies in memory, of pieces, and of bundles."""

from __future__ import annotations

import pytest

from bulkdl.fetch.arrivals import Arrival, Unfinished, total
from tests.support.memory_archive import MemoryBody


def test_an_instance_of_known_size_is_awaited_to_its_end() -> None:
    arrival = Arrival(1000)
    arrival.add(250)
    assert arrival.unfinished == Unfinished(250, 0.25, 750, 1)


def test_more_bytes_than_announced_are_not_more_than_an_instance() -> None:
    arrival = Arrival(100)
    arrival.add(250)
    assert arrival.unfinished == Unfinished(250, 1.0, 0, 1)


def test_the_bytes_of_a_body_that_is_read_as_a_whole_are_seen_while_they_arrive() -> None:
    body = MemoryBody(b"x" * 1000)
    arrival = Arrival(1000)
    arrival.reads(body)
    body.arrived = 300
    assert arrival.unfinished == Unfinished(300, 0.3, 700, 1)


def test_an_instance_of_unknown_size_always_grows_and_never_is_whole() -> None:
    arrival = Arrival()
    shares = []
    for _ in range(50):
        arrival.add(1 << 18)
        shares.append(arrival.unfinished.instances)
    assert shares == sorted(set(shares))
    assert shares[3] == pytest.approx(0.5)
    assert shares[-1] < 1


def test_the_instances_of_a_bundle_count_until_they_are_delivered() -> None:
    arrival = Arrival()
    for size in (100, 200):
        arrival.add(size)
        arrival.ends_instance()
    arrival.add(7)
    arrival.ends_other()
    assert arrival.unfinished == Unfinished(300, 2.0)
    arrival.is_delivered(100)
    assert arrival.unfinished == Unfinished(200, 1.0)
    arrival.is_delivered(500)
    arrival.is_delivered(500)
    assert arrival.unfinished == Unfinished(0, 0.0)


def test_several_are_added_up() -> None:
    known, unknown = Arrival(100), Arrival()
    known.add(50)
    unknown.add(1 << 20)
    assert total([known, unknown]) == Unfinished(50 + (1 << 20), 1.0, 50, 1)
    assert total([]) == Unfinished()
