from __future__ import annotations

from bulkdl.runtime.tally import Tally


def test_a_key_without_a_count_is_not_there() -> None:
    counts = Tally[str]()
    counts["a"] += 3
    counts["b"] += 1
    counts.take("a", 2)
    counts.take("b")
    assert dict(counts) == {"a": 1}
    assert counts.total() == 1
    for _ in range(2):  # more is taken than there is
        counts.take("a", 2)
    assert not counts
