"""Whatever happens, in whatever order: the totals are those that counting all rows would give, and no state is lost."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bulkdl.journal.connection import open_to_write
from bulkdl.journal.journal import Journal
from bulkdl.model.outcomes import STATE_AFTER, InstanceState, Outcome
from bulkdl.model.records import InstanceKey
from bulkdl.model.selection import Selection
from tests.support.journals import NOW, begin, folder, list_instances, outcome, record, series_uid, sop_uid

SERIES = range(4)
INSTANCES = range(4)
NAMED = {0: (0, 1), 1: (3,)}

SELECTIONS: dict[str, Selection | None] = {
    "wide": Selection(everything=True),
    "narrow": Selection(
        series=(series_uid(0), series_uid(1), series_uid(2)),
        instances=tuple((series_uid(s), tuple(sop_uid(s, i) for i in numbers)) for s, numbers in NAMED.items()),
    ),
    "resume": None,
}

Key = tuple[int, int]


class Totals(RuleBasedStateMachine):
    """A journal beside a model of plain dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.sqlite"
        Journal.create_or_open(self.path).close()
        self._open()
        self.states: dict[Key, InstanceState] = {}
        self.failed_in: dict[Key, int] = {}
        self.series_failed_in: dict[int, int] = {}
        self.recorded: set[int] = set()
        self.linked: dict[str, set[int]] = {"wide": set(), "narrow": set()}

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()

    @initialize()
    def first_run(self) -> None:
        self.begin("wide")

    @rule(kind=strategies.sampled_from(list(SELECTIONS)))
    def begin(self, kind: str) -> None:
        self.kind = kind
        self.run = begin(self.journal, SELECTIONS[kind])

    @rule(s=strategies.sampled_from(SERIES), count=strategies.integers(0, 9))
    def record_series(self, s: int, count: int) -> None:
        self.journal.record_series(self.run, [(record(s, image_count=count), folder(s))], now=NOW)
        self.recorded.add(s)
        self._link(s)
        for key, run_id in list(self.failed_in.items()):
            if key[0] == s and run_id != self.run.id:
                self._become(key, InstanceState.OWED)
        if self.series_failed_in.get(s, self.run.id) != self.run.id:
            del self.series_failed_in[s]

    @rule(numbers=strategies.sets(strategies.sampled_from(INSTANCES)))
    def list_all(self, numbers: set[int]) -> None:
        for row in self.journal.unlisted_series(self.run):
            s = next(s for s in SERIES if series_uid(s) == row.series.series_uid)
            wanted = numbers if row.wanted is None else {i for i in INSTANCES if sop_uid(s, i) in row.wanted}
            list_instances(self.journal, self.run, s, wanted)
            for i in wanted:
                self.states.setdefault((s, i), InstanceState.OWED)
        assert self.journal.unlisted_series(self.run) == []

    @rule(
        choice=strategies.lists(strategies.tuples(strategies.integers(0), strategies.sampled_from(Outcome)), max_size=5)
    )
    def record_outcomes(self, choice: list[tuple[int, Outcome]]) -> None:
        known = sorted(self.states)
        chosen = {known[number % len(known)]: kind for number, kind in choice if known}
        self.journal.record_outcomes(self.run, [outcome(*key, kind) for key, kind in chosen.items()])
        for key, kind in chosen.items():
            if STATE_AFTER[kind] is InstanceState.HELD:
                self._become(key, InstanceState.HELD)
            elif self.states[key] is not InstanceState.HELD:
                self._become(key, STATE_AFTER[kind])
                self.failed_in[key] = self.run.id

    @rule(s=strategies.sampled_from(SERIES))
    def fail_series(self, s: int) -> None:
        self.journal.record_series_failure(self.run, series_uid(s), error="server-error", message="", attempts=1)
        self.series_failed_in[s] = self.run.id
        self._link(s)

    @rule()
    def owe_again(self) -> None:
        mine = [key for key in self.failed_in if self._concerns(key)]
        whole = [s for s in self.series_failed_in if s in self.recorded and self._series_concerns(s)]
        assert self.journal.owe_again(self.run) == len(mine) + len(whole)
        for key in mine:
            self._become(key, InstanceState.OWED)
        for s in whole:
            del self.series_failed_in[s]

    @rule(number=strategies.integers(0))
    def owe(self, number: int) -> None:
        if self.states:
            key = sorted(self.states)[number % len(self.states)]
            self.journal.owe(self.run, [InstanceKey(series_uid(key[0]), sop_uid(*key))])
            if self.states[key] is InstanceState.HELD:
                self._become(key, InstanceState.OWED)

    @rule()
    def open_again(self) -> None:
        self.journal.close()
        self._open()

    @invariant()
    def states_are_as_told(self) -> None:
        found = self._ask("SELECT series_uid, sop_uid, state FROM v_instances")
        told = [(series_uid(s), sop_uid(s, i), state.value) for (s, i), state in self.states.items()]
        assert sorted(found) == sorted(told)

    @invariant()
    def counts_are_those_of_the_selection(self) -> None:
        for run, concerns in ((None, lambda _: True), (self.run, self._concerns)):
            expected = Counter(state.value for key, state in self.states.items() if concerns(key))
            counts = self.journal.counts(run)
            assert {name: getattr(counts, name) for name in InstanceState} == {n: expected[n] for n in InstanceState}
            expected_bytes = sum(
                1000 + i for (s, i), state in self.states.items() if state == "held" and concerns((s, i))
            )
            assert counts.held_bytes == expected_bytes
            assert counts.instances_selected == sum(entry.instances for entry in self.journal.collections(run))
            owing = counts.series_selected - counts.series_complete - counts.series_failed
            assert owing >= counts.series_unlisted >= 0

    @invariant()
    def failures_are_those_that_failed(self) -> None:
        for run, concerns, whole in (
            (None, lambda _: True, lambda _: True),
            (self.run, self._concerns, self._series_concerns),
        ):
            expected: set[tuple[str, str | None]]
            expected = {(series_uid(s), sop_uid(s, i)) for s, i in self.failed_in if concerns((s, i))}
            expected |= {(series_uid(s), None) for s in self.series_failed_in if whole(s)}
            found = [(failure.series, failure.instance) for failure in self.journal.failures(run, limit=1000)]
            assert len(found) == len(set(found))
            assert set(found) == expected
            assert sum(self.journal.failures_by_error(run).values()) == len(expected)

    @invariant()
    def owed_work_is_what_is_owed(self) -> None:
        given, cursor = [], None
        while True:
            work, cursor = self.journal.owed_work(self.run, after=cursor, limit=2, instances_per_item=2)
            given += [str(entry.sop_uid) for item in work for entry in item.entries]
            if cursor is None:
                break
        owed = [key for key, state in self.states.items() if state == "owed" and self._concerns(key)]
        assert sorted(given) == sorted(sop_uid(*key) for key in owed)
        assert len(self.journal.held(limit=1000)) == sum(state == "held" for state in self.states.values())

    @invariant()
    def triggers_and_rows_agree(self) -> None:
        assert self._ask(
            "SELECT t.owed, t.held, t.failed, t.quarantined, t.withdrawn, s.owes FROM tally AS t "
            "JOIN series AS s ON s.id = t.series_id ORDER BY s.id"
        ) == self._ask(
            "SELECT ifnull(sum(i.state = 0), 0), ifnull(sum(i.state = 1), 0), ifnull(sum(i.state = 2), 0), "
            "ifnull(sum(i.state = 3), 0), ifnull(sum(i.state = 4), 0), ifnull(max(i.state = 0), 0) "
            "FROM series AS s LEFT JOIN instance AS i ON i.series_id = s.id GROUP BY s.id ORDER BY s.id"
        )

    def _open(self) -> None:
        self.database = open_to_write(self.path)
        self.journal = Journal(self.path, self.database)

    def _ask(self, question: str) -> list[Any]:
        return self.database.execute(question).fetchall()

    def _become(self, key: Key, state: InstanceState) -> None:
        self.states[key] = state
        self.failed_in.pop(key, None)

    def _link(self, s: int) -> None:
        if self.kind in self.linked:
            self.linked[self.kind].add(s)

    def _series_concerns(self, s: int) -> bool:
        return self.kind == "resume" or s in self.linked[self.kind]

    def _concerns(self, key: Key) -> bool:
        s, i = key
        return self._series_concerns(s) and not (self.kind == "narrow" and s in NAMED and i not in NAMED[s])


Totals.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestTotals = Totals.TestCase
