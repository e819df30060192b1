"""A selection becomes Series, and Series become instances to fetch: the first two stages of the pipeline.

The narrowest questions that lose nothing are asked: one getSeries for a Collection, a Patient, a Study or a Series that
is named (or one for thousands of Series, where the archive's family has such a question), whatever else narrows it;
what the archive does not sift, `Selection.matches` does. NBIA v1 compares modalities, body parts and makers by the
collation of its database, so those are sent only where nothing else narrows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Final, TypeVar

from bulkdl.archive.client import ArchiveClient
from bulkdl.errors import AccessDenied, NotFound, RequestFailed, RequestRejected, ShortAtSource
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run, UnlistedSeries
from bulkdl.journal.thread import JournalThread
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceOutcome
from bulkdl.model.records import Entry, Series
from bulkdl.model.reports import Failure
from bulkdl.model.selection import Selection
from bulkdl.model.states import Outcome
from bulkdl.model.text import nearest
from bulkdl.runtime.tasks import Stage, run_pool
from bulkdl.store.layout import special_name

Item = TypeVar("Item")

# As far as the limit of requests in flight lets them: who fetches waits for the same permits, first come, first served.
_QUESTIONS_AT_ONCE: Final = 32
_LISTS_AT_ONCE: Final = 32
_PAGE: Final = 100
_ASKED_BEFORE_BELIEVED: Final = 4  # an archive in trouble, or one whose token ran out, may answer with nothing


@dataclass(frozen=True, slots=True)
class Question:
    """One getSeries: its criteria, and the Series that it asks for by name, if it does."""

    criteria: Mapping[str, str]
    series_uid: str | None = None

    def __str__(self) -> str:
        words = (f"{name.replace('_', ' ')} {value}" for name, value in self.criteria.items())
        return ", ".join(words) or "the whole archive"


def questions(selection: Selection, collections: tuple[str, ...] = ()) -> list[Question]:
    """The getSeries that find `selection`. `collections` are all names, wanted only for a whole archive."""
    if selection.shared_lists:  # first: what is in them only the archive knows, and `matches` sifts the rest
        return [Question({"shared_list": name}) for name in dict.fromkeys(selection.shared_lists)]
    if selection.series:
        return [Question({"series_uid": uid}, series_uid=uid) for uid in dict.fromkeys(selection.series)]
    if selection.patients and selection.collections:
        pairs = product(dict.fromkeys(selection.collections), dict.fromkeys(selection.patients))
        return [Question({"collection": collection, "patient_id": patient}) for collection, patient in pairs]
    if (narrowest := selection.narrowest()) is not None:
        name, values = narrowest
        return [Question({name: value}) for value in dict.fromkeys(values)]
    return [Question({"collection": collection}) for collection in collections]


@dataclass(slots=True)
class Resolution:
    """What came of resolving: how many Series, and the questions that found none.

    `unanswered` are those to which the archive has nothing; `broken` those that it could not be brought to answer, each
    with its last failure: what they would have found is not known.
    """

    series: int = 0
    unanswered: list[Question] = field(default_factory=list)
    broken: list[tuple[Question, RequestFailed]] = field(default_factory=list)

    def failures(self) -> list[Failure]:
        """One for each question that found none; `series` is empty where the question does not name one."""
        nothing = "the archive does not have this series, or does not show it"
        missing = [
            Failure(uid, None, NotFound.code, nothing if uid else f"the archive has no series for {question}", 1)
            for question in self.unanswered
            for uid in [question.series_uid or ""]
        ]
        return missing + [
            Failure(question.series_uid or "", None, error.code, f"{question}: {error}", error.attempts)
            for question, error in self.broken
        ]


async def resolve(
    selection: Selection, client: ArchiveClient, take: Callable[[list[Series]], Awaitable[None]]
) -> Resolution:
    """Ask for the Series of `selection` and hand those that match to `take`, in batches, while they come.

    A Series may come more than once. A question that the archive answers with nothing is no error here: it is returned,
    for the caller to report.

    Raises:
        SelectionError: the selection holds nothing to ask for.
        BulkdlError: as `ArchiveClient` says.
    """
    selection.check()
    is_sent = selection.series or selection.shared_lists or selection.narrowest()
    asked = questions(selection, () if is_sent else tuple(await client.collections()))
    at_once = client.dialect.series_at_once if all(question.series_uid for question in asked) else 1
    batches = (asked[start : start + at_once] for start in range(0, len(asked), at_once))
    asking = _Asking(selection, client, take)
    await run_pool(_each(batches), asking.ask, workers=_QUESTIONS_AT_ONCE, name="resolve")
    return asking.found


class _Asking:
    """Puts questions to the archive, and hands on what matches of the answers."""

    def __init__(
        self, selection: Selection, client: ArchiveClient, take: Callable[[list[Series]], Awaitable[None]]
    ) -> None:
        self.found = Resolution()
        self._client = client
        self._take = take
        self._named = frozenset(selection.series)  # a manifest may name many thousands
        self._selection = replace(selection, series=())

    async def ask(self, batch: Sequence[Question]) -> None:
        """Ask one question, or several that each name a Series together."""
        if len(batch) == 1:
            await self._ask_one(batch[0])
            return
        matching: set[str] = set()

        async def keep(answered: list[Series]) -> None:
            matching.update(await self._hand_on(answered))

        try:
            await self._client.series_by_uids([SeriesUid(question.series_uid or "") for question in batch], keep)
        except (NotFound, RequestRejected):  # an archive that knows no such question, or one UID that it cannot bear
            await run_pool(_each(batch), self._ask_one, workers=_QUESTIONS_AT_ONCE, name="resolve-singly")
            return
        except AccessDenied:
            raise
        except RequestFailed as error:
            self.found.broken += [(question, error) for question in batch]
            return
        self.found.series += len(matching)
        self.found.unanswered += [question for question in batch if question.series_uid not in matching]

    async def _ask_one(self, question: Question) -> None:
        matching = 0

        async def keep(answered: list[Series]) -> None:
            nonlocal matching
            matching += len(await self._hand_on([_completed(series, question) for series in answered]))

        try:
            answered = await self._client.series(question.criteria, keep)
        except (NotFound, RequestRejected):
            answered = 0
        except AccessDenied:
            raise
        except RequestFailed as error:
            self.found.series += matching
            self.found.broken.append((question, error))
            return
        self.found.series += matching
        if not answered or (question.series_uid and not matching):
            self.found.unanswered.append(question)

    async def _hand_on(self, answered: list[Series]) -> list[SeriesUid]:
        chosen = [series for series in answered if self._matches(series)]
        if chosen:
            await self._take(chosen)
        return [series.series_uid for series in chosen]

    def _matches(self, series: Series) -> bool:
        return (not self._named or series.series_uid in self._named) and self._selection.matches(series)


async def _each(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


def _completed(series: Series, question: Question) -> Series:
    """The record with what the question says and the answer left out, as archives do with what they were asked for."""
    if not series.collection and (collection := question.criteria.get("collection")):
        series = replace(series, collection=collection)
    if not series.patient_id and (patient := question.criteria.get("patient_id")):
        series = replace(series, patient_id=patient)
    return series


async def list_instances(
    journal_thread: JournalThread, run: Run, client: ArchiveClient, *, upstream: Stage, downstream: Stage
) -> None:
    """Ask for the instances of each Series that the journal has and knows no instances of, until `upstream` ends.

    One getSOPInstanceUIDs for a Series. A list shorter than the archive's own count is asked for again before it is
    believed, and then noted as the Series' failure; what is on it is fetched all the same.

    Raises:
        BulkdlError: what must stop the run. A list that cannot be had is a failure of its Series.
    """

    async def unlisted() -> AsyncIterator[UnlistedSeries]:
        while True:
            upstream.changed.clear()
            had_ended, asked, after = upstream.has_ended, False, 0
            while page := await journal_thread(Journal.unlisted_series, run, after=after, limit=_PAGE):
                for row in page:
                    after = row.id
                    if row.series.series_uid not in in_hand:
                        asked = True
                        in_hand.add(row.series.series_uid)
                        yield row
            if asked:
                continue
            if had_ended:
                return
            await upstream.changed.wait()

    in_hand: set[str] = set()  # no more than are being asked about

    async def ask(row: UnlistedSeries) -> None:
        try:
            await _list_one(row, journal_thread, run, client)
        finally:
            in_hand.discard(row.series.series_uid)
        downstream.more()

    await run_pool(unlisted(), ask, workers=_LISTS_AT_ONCE, name="list")


async def _list_one(row: UnlistedSeries, journal_thread: JournalThread, run: Run, client: ArchiveClient) -> None:
    uid, promised = row.series.series_uid, row.series.image_count
    try:
        listed = await client.instances(uid)
        asked = 1
        while (not listed or len(listed) < (promised or 0)) and asked < _ASKED_BEFORE_BELIEVED:
            await client.retrier.back_off(asked)
            listed = list(dict.fromkeys([*listed, *await client.instances(uid)]))
            asked += 1
    except AccessDenied:
        raise
    except RequestFailed as error:
        await journal_thread(
            Journal.record_series_failure, run, uid, error=error.code, message=str(error), attempts=error.attempts
        )
        return
    wanted = listed if row.wanted is None else [sop_uid for sop_uid in listed if sop_uid in row.wanted]
    missing = sorted((row.wanted or frozenset()) - set(listed))
    names = [special_name(sop_uid) for sop_uid in (*wanted, *missing)]
    entries = [Entry(sop_uid, sop_uid) for sop_uid in (*wanted, *missing)]
    await journal_thread(Journal.record_instances, run, uid, entries, names)
    if missing:
        message = "the archive does not list this instance in its series"
        outcomes = [
            InstanceOutcome(
                series_uid=uid,
                key=sop_uid,
                sop_uid=sop_uid,
                outcome=Outcome.FAILED,
                error="not-found",
                message=message,
                attempts=1,
            )
            for sop_uid in missing
        ]
        await journal_thread(Journal.record_outcomes, run, outcomes)
    if not listed or len(listed) < (promised or 0):
        message = f"the archive lists {len(listed):,} instances and counts {promised:,}" if listed else "no instances"
        await journal_thread(
            Journal.record_series_failure, run, uid, error=ShortAtSource.code, message=message, attempts=asked
        )


async def explain_nothing(selection: Selection, unanswered: list[Question], client: ArchiveClient) -> str:
    """One line on a selection that found no Series at all, with a suggestion for a Collection that is misspelt."""
    told = "; ".join(str(question) for question in unanswered[:3]) or "the criteria together"
    if len(unanswered) > 3:  # noqa: PLR2004 - as many as were told
        told += f"; and {len(unanswered) - 3} more"
    hint = ""
    if selection.collections:
        known = await client.collections()
        guesses = [
            guess
            for wanted in selection.collections
            if (guess := nearest(wanted, known)) is not None and guess.casefold() != wanted.casefold()
        ]
        hint = f"; did you mean {', '.join(guesses)}?" if guesses else ""
    return f"the archive has no series for {told}{hint}"
