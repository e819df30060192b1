"""A selection becomes Series, and Series become entries to download: the first two stages of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from bulkdl.archive.base import Archive, FoundSeries, SeriesQuestion
from bulkdl.errors import DiffersAtSource, NotFound, RequestFailed, ShortAtSource, UnexpectedAnswer
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run, UnlistedSeries
from bulkdl.journal.thread import JournalThread
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import Entry, Series, SeriesSize
from bulkdl.model.reports import Failure
from bulkdl.model.selection import Selection
from bulkdl.model.text import nearest
from bulkdl.object_heads import identified
from bulkdl.runtime.availability import Refusals
from bulkdl.runtime.tasks import Stage, run_pool
from bulkdl.shortlist import Shortlist
from bulkdl.store.layout import special_name

if TYPE_CHECKING:
    from bulkdl.annotations import AnnotationClosure

# The permits for requests in flight limit them further; downloads wait for the same permits, first come, first served.
_LISTS_AT_ONCE: Final = 32
_PAGE: Final = 100
_QUESTIONS_SHOWN: Final = 3
_VALUES_SHOWN: Final = 12
_DIFFERENCES_SHOWN: Final = 20
_STUDIES_SAMPLED: Final = 50  # of UIDs that are not Series; if none of them is a Study, the others are not asked for
_NOT_LISTED: Final = "the archive does not list this instance in its series"
_IN_NO_SERIES: Final = "no series of the selection has this instance"
_ATTEMPTS_AT_A_SHORT_LIST: Final = 4  # an archive in trouble, or one whose token has expired, may answer with nothing


@dataclass(slots=True)
class Resolution:
    """The result of resolving: how many Series were found, and which questions found none.

    A Series that the archive sent twice counts twice. `not_found`, `failed` and `release` are as in `FoundSeries`.
    `studies` are Study UIDs that were requested as Series. `differing` maps a Series to how it differs from what a
    manifest states. `choices` say what a sample or a limit left out. `hard_limit_bytes` is the limit
    where it was applied to estimates.
    """

    series: int = 0
    release: str | None = None
    not_found: list[SeriesQuestion] = field(default_factory=list)
    failed: list[tuple[SeriesQuestion, RequestFailed]] = field(default_factory=list)
    studies: list[StudyUid] = field(default_factory=list)
    differing: dict[SeriesUid, str] = field(default_factory=dict)
    choices: list[str] = field(default_factory=list)
    hard_limit_bytes: int | None = None

    def add(self, found: FoundSeries) -> None:
        """Count one batch."""
        self.series += len(found.series)
        self.release = found.release or self.release
        self.not_found += found.not_found
        self.failed += found.failed

    def follow(self, closure: AnnotationClosure | None) -> None:
        """Take over what `closure` has to tell, where nothing further will be known."""
        if closure is not None:
            self.choices += closure.notes()
            self.failed += (
                (SeriesQuestion({"the annotations of": "the selection"}), error) for error in closure.failures
            )

    def compare(self, series: Iterable[Series], expected: Mapping[SeriesUid, SeriesSize]) -> None:
        """Note which Series differ from what a manifest states of them."""
        for each in series:
            if (size := expected.get(each.series_uid)) and (difference := _difference(size, each)):
                self.differing[each.series_uid] = difference

    def notes(self) -> tuple[str, ...]:
        """What to tell the user: the Studies among the Series, and what differs from the manifest."""
        notes = list(self.choices)
        if self.studies:
            which = f"{self.studies[0]} is" if len(self.studies) == 1 else f"{len(self.studies):,} UIDs are"
            first = "" if len(self.studies) == 1 else f" ({self.studies[0]} is the first)"
            notes.append(f"{which} not a series but a Study Instance UID{first}; all series of the study are selected")
        for uid, difference in islice(self.differing.items(), _DIFFERENCES_SHOWN):
            notes.append(f"series {uid} differs from the manifest: {difference}")
        if (more := len(self.differing) - _DIFFERENCES_SHOWN) > 0:
            notes.append(f"{more:,} more series differ from the manifest")
        return tuple(notes)

    def failures(self) -> list[Failure]:
        """One for each question without Series; `series` is empty where the question does not name one."""
        missing = "the archive does not have this series, or does not show it"
        nothing = [
            Failure(uid, question.sop_uid, NotFound.code, question.reason or (missing if uid else otherwise), 1)
            for question in self.not_found
            for uid, otherwise in [(question.series_uid or "", f"the archive has no series for {question}")]
        ]
        return nothing + [
            Failure(question.series_uid or "", None, error.code, f"{question}: {error}", error.attempts)
            for question, error in self.failed
        ]


async def resolve(
    selection: Selection,
    archive: Archive,
    resolution: Resolution,
    *,
    kept: Collection[SeriesUid] = (),
    closure: AnnotationClosure | None = None,
) -> AsyncGenerator[FoundSeries, None]:
    """Yield the Series of `selection` in batches as they arrive, and count them in `resolution`.

    Each batch has Series, and what the answers say of their Patients and Studies.
    Those of a sample, a limit or an order come once all are known; `kept` are what an earlier run chose of them. Then
    come those that `closure` adds.

    Raises:
        SelectionError: the selection has no criterion, or nothing fits into its limit.
        BulkdlError: what ends the run, as `Archive` states.
    """
    async with aclosing(_chosen(selection, archive, resolution, kept)) as chosen:
        async for batch in chosen:
            if closure is not None:
                closure.take(batch.series)
            yield batch
    if closure is not None:
        async with aclosing(closure.extend()) as added:
            async for batch in added:
                yield batch


async def _chosen(
    selection: Selection, archive: Archive, resolution: Resolution, kept: Collection[SeriesUid]
) -> AsyncGenerator[FoundSeries, None]:
    async with aclosing(_matching(selection, archive, resolution)) as matching:
        if not selection.is_shortlisted:
            async for batch in matching:
                yield batch
            return
        with Shortlist(selection, archive, kept) as shortlist:
            async for batch in matching:
                await shortlist.add(batch)
            async for batch in shortlist.chosen():
                resolution.hard_limit_bytes = None if shortlist.is_exact else selection.limit_bytes
                yield batch
            resolution.choices += shortlist.notes


async def _matching(
    selection: Selection, archive: Archive, resolution: Resolution
) -> AsyncGenerator[FoundSeries, None]:
    """Yield the Series that match the criteria of `selection`, in batches as they arrive.

    A Series may come more than once. A question that finds nothing is not an error here: the caller reports it. UIDs of
    Series that the archive does not have are asked for as Studies, whose Series are selected then.

    Raises:
        SelectionError: the selection has no criterion.
        BulkdlError: what ends the run, as `Archive` states.
    """
    selection.check()
    resolution.not_found += (SeriesQuestion({}, sop_uid=uid, reason=_IN_NO_SERIES) for uid in selection.sop_uids)
    if selection.sop_uids and not selection.instances:
        return
    others = replace(selection, alternatives=(), series=())
    for part in selection.parts():
        missing: list[SeriesQuestion] = []
        async with aclosing(archive.find(part)) as batches:
            async for found in batches:
                missing += (question for question in found.not_found if question.series_uid)
                unnamed = tuple(question for question in found.not_found if not question.series_uid)
                chosen = _take(replace(found, not_found=unnamed), selection, others, resolution)
                if chosen.series:
                    yield chosen
        async with aclosing(_find_studies(part, missing, archive, resolution)) as studies:
            async for found in studies:
                chosen = _take(found, selection, others, resolution)
                if chosen.series:
                    yield chosen


def _take(found: FoundSeries, selection: Selection, others: Selection, resolution: Resolution) -> FoundSeries:
    """Count one batch; return it with its Series that match the criteria beside the alternatives, too.

    Archives cannot be asked for a shard.
    """
    if selection.shard:
        found = replace(found, series=tuple(filter(Selection(shard=selection.shard).matches, found.series)))
    if selection.alternatives:
        found = replace(found, series=tuple(series for series in found.series if others.matches(series)))
    if selection.shard or selection.alternatives:
        found = replace(found, descriptions=found.descriptions.of(found.series))
    resolution.add(found)
    resolution.compare(found.series, selection.expected)
    return found


async def _find_studies(
    part: Selection, missing: list[SeriesQuestion], archive: Archive, resolution: Resolution
) -> AsyncGenerator[FoundSeries, None]:
    """Ask for UIDs that are not Series of the archive as Studies, a sample of them first.

    Yields what is found, and the UIDs that are neither as not found.
    """
    questions: dict[str, SeriesQuestion] = {question.series_uid or "": question for question in missing}
    uids = list(map(StudyUid, questions))
    requested = frozenset(uids)
    sample = uids[:: -(-len(uids) // _STUDIES_SAMPLED) or 1]
    sampled = set(sample)
    criteria = replace(part, series=(), instances=())
    for asked in (sample, [uid for uid in uids if uid not in sampled]):
        if not asked or (asked is not sample and not resolution.studies):
            continue
        async with aclosing(archive.find(Selection(studies=tuple(asked)))) as batches:
            async for found in batches:
                here = [series for series in found.series if series.study_uid in requested]
                for series in here:
                    if series.study_uid and questions.pop(series.study_uid, None):
                        resolution.studies.append(series.study_uid)
                chosen = tuple(filter(criteria.matches, here))
                yield FoundSeries(chosen, descriptions=found.descriptions.of(chosen))
    if questions:
        yield FoundSeries(not_found=tuple(questions.values()))


def _difference(expected: SeriesSize, series: Series) -> str | None:
    """How a Series differs from what a manifest states; None where it does not, or the archive does not say."""
    pairs = (
        (expected.image_count, series.image_count, "instances"),
        (expected.size_bytes, series.size_bytes, "bytes"),
    )
    parts = [
        f"{stated:,} {unit} there, {actual:,} at the archive"
        for stated, actual, unit in pairs
        if stated is not None and actual is not None and stated != actual
    ]
    return ", ".join(parts) or None


@dataclass(frozen=True, slots=True)
class ListSteps:
    """What is done about each Series that is listed: before its entries are recorded, and after.

    `after` gets the keys of the entries if the list is complete.
    """

    after: Callable[[SeriesUid, frozenset[str] | None], Awaitable[None]]
    before: Callable[[Series, Sequence[Entry]], Awaitable[None]] | None = None


async def list_instances(
    journal_thread: JournalThread,
    run: Run,
    archive: Archive,
    *,
    upstream: Stage,
    downstream: Stage,
    steps: ListSteps,
) -> None:
    """List the entries of each Series in the journal that has none, until `upstream` ends.

    A list that is shorter than the archive's own count is requested again before it is believed, and then recorded as a
    failure of the Series; its entries are downloaded all the same.

    Raises:
        BulkdlError: what ends the run. A list that fails is a failure of its Series.
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

    in_hand: set[str] = set()  # the Series that are being listed
    refusals = Refusals()

    async def ask(row: UnlistedSeries) -> None:
        try:
            keys, holds_files = await _list_one(row, journal_thread, run, archive, steps, refusals)
            await steps.after(row.series.series_uid, keys)
            if holds_files:
                await journal_thread(Journal.end_listing, row.series.series_uid)
        finally:
            in_hand.discard(row.series.series_uid)
        downstream.more()

    await run_pool(unlisted(), ask, workers=_LISTS_AT_ONCE, name="list")


async def _list_one(
    row: UnlistedSeries,
    journal_thread: JournalThread,
    run: Run,
    archive: Archive,
    steps: ListSteps,
    refusals: Refusals,
) -> tuple[frozenset[str] | None, bool]:
    """Record the entries of a Series; return their keys if the list is complete and all of them are wanted.

    And whether `Journal.end_listing` is due, once its files were compared with them.
    """
    uid = row.series.series_uid
    try:
        entries, invalid_rows, attempts = await list_until_complete(row.series, archive)
        if steps.before is not None and entries:
            await steps.before(row.series, entries)
        if row.wanted is not None:
            entries = await identified(archive, row.series, entries, row.wanted)
        refusals.answered()
    except RequestFailed as error:
        refusals.failed(error)
        await journal_thread(
            Journal.record_series_failure, run, uid, error=error.code, message=str(error), attempts=error.attempts
        )
        return None, False
    wanted = [entry for entry in entries if row.wanted is None or entry.sop_uid in row.wanted]
    missing = sorted((row.wanted or frozenset()) - {entry.sop_uid for entry in wanted})
    recorded = [*wanted, *(Entry(sop_uid, sop_uid) for sop_uid in missing)]
    names = [special_name(entry.sop_uid) if entry.sop_uid is not None else None for entry in recorded]
    is_whole = row.wanted is None and 0 < (row.series.image_count or 0) <= len(entries)
    absent = [_not_found(uid, sop_uid, _NOT_LISTED) for sop_uid in missing]
    holds_files = await journal_thread(
        Journal.record_instances, run, uid, recorded, names, missing=absent, is_whole=is_whole
    )
    found = finding(row.series, entries, invalid_rows)
    if found is None:
        is_whole = row.wanted is None and not invalid_rows
        return frozenset(entry.key for entry in entries) if is_whole else None, holds_files
    await journal_thread(
        Journal.record_series_failure, run, uid, error=found.code, message=str(found), attempts=attempts
    )
    return None, holds_files


def finding(
    series: Series, entries: Sequence[Entry], invalid_rows: int
) -> ShortAtSource | DiffersAtSource | UnexpectedAnswer | None:
    """How the list of a Series differs from what the archive says of it elsewhere.

    The index that knows the location of a Series (IDC's) is exact: any difference is a finding.
    """
    is_exact = series.location is not None
    promised = series.image_count or 0
    listed = f"the archive lists {f'{len(entries):,}' if entries else 'no'} instances"
    bytes_differ = _bytes_differ(series, entries) if is_exact else ""
    if invalid_rows and not is_exact and not 0 < promised <= len(entries):
        return UnexpectedAnswer(f"{invalid_rows:,} listed instances have no valid SOP Instance UID")
    odd = f"; {invalid_rows:,} listed keys are not those of instances" if invalid_rows and is_exact else ""
    if not entries or len(entries) < promised:
        return ShortAtSource(f"{listed} and counts {promised:,}{bytes_differ}{odd}")
    if is_exact and 0 < promised < len(entries):
        return DiffersAtSource(f"{listed} and counts {promised:,}{bytes_differ}{odd}")
    if bytes_differ or odd:
        return DiffersAtSource(f"{listed}{bytes_differ}{odd}")
    return None


def _bytes_differ(series: Series, entries: Sequence[Entry]) -> str:
    """How the bytes of all entries differ from those of the Series. Without a count its size is not exact either."""
    sizes = [entry.size_bytes for entry in entries if entry.size_bytes is not None]
    if not series.image_count or series.size_bytes is None or len(sizes) < len(entries):
        return ""
    listed = sum(sizes)
    return f"; they have {listed:,} bytes, the index says {series.size_bytes:,}" if listed != series.size_bytes else ""


async def list_until_complete(series: Series, archive: Archive) -> tuple[tuple[Entry, ...], int, int]:
    """The entries of all lists of a Series, until they are as many as the archive counts.

    With the number of invalid rows in the last list, and the number of lists.
    """
    entries: dict[str, Entry] = {}
    attempts = 0
    while True:
        listing = await archive.list(series)
        entries |= {entry.key: entry for entry in listing.entries}
        attempts += 1
        is_complete = entries and len(entries) >= (series.image_count or 0)
        if is_complete or attempts >= _ATTEMPTS_AT_A_SHORT_LIST:
            return tuple(entries.values()), listing.invalid_rows, attempts
        await archive.retrier.back_off(attempts)


def _not_found(series_uid: SeriesUid, sop_uid: SopInstanceUid, message: str) -> InstanceOutcome:
    return InstanceOutcome(
        series_uid=series_uid,
        key=sop_uid,
        sop_uid=sop_uid,
        outcome=Outcome.FAILED,
        error=NotFound.code,
        message=message,
        attempts=1,
    )


async def explain_nothing(selection: Selection, questions: Sequence[SeriesQuestion], archive: Archive) -> str:
    """One line about a selection without any Series; suggests the name of a Collection that may be misspelt."""
    shown = "; ".join(str(question) for question in questions[:_QUESTIONS_SHOWN]) or "the criteria together"
    if (more := len(questions) - _QUESTIONS_SHOWN) > 0:
        shown += f"; and {more} more"
    hint = ""
    if selection.collections:
        known = await archive.collections()
        guesses = [
            guess
            for wanted in selection.collections
            if (guess := nearest(wanted, known)) is not None and guess.casefold() != wanted.casefold()
        ]
        if guesses:
            hint = f"; did you mean {', '.join(guesses)}?"
        elif questions and archive.capabilities.takes_login:
            hint = "; if it is restricted, it needs a login: --username"
    if not questions:
        hint = await _values_there_are(selection, archive)
    return f"the archive has no series for {shown}{hint}"


async def _values_there_are(selection: Selection, archive: Archive) -> str:
    """What the Series of the narrowest criterion have, where the others select none of them."""
    if selection.narrowest() is None:
        return ""
    values: defaultdict[str, set[str]] = defaultdict(set)
    count = 0
    async with aclosing(archive.find(selection.narrowest_alone())) as batches:
        async for found in batches:
            for series in found.series:
                count += 1
                for attribute in selection.attributes():
                    values[attribute].add(getattr(series, attribute) or "(none)")
    texts = [
        f"{attribute.replace('_', ' ')} {', '.join(sorted(seen)[:_VALUES_SHOWN])}" for attribute, seen in values.items()
    ]
    attribute, names = selection.narrowest() or ("", ())
    return f": the {count:,} series of {attribute} {', '.join(names)} have {' and '.join(texts)}" if texts else ""
