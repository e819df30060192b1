"""A selection becomes Series: the first stage of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from bulkdl.archive.base import Archive, FoundSeries, SeriesQuestion
from bulkdl.errors import NotFound, RequestFailed, SelectionError
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Series, SeriesKind, SeriesSize
from bulkdl.model.reports.base import Failure
from bulkdl.model.selection import Selection
from bulkdl.model.text import nearest
from bulkdl.resolve.known_places import PlacesOf, find_together
from bulkdl.resolve.shortlist import Shortlist
from bulkdl.resolve.unindexed import find_unindexed, notes_of

if TYPE_CHECKING:
    from bulkdl.resolve.annotations import AnnotationClosure
    from bulkdl.resolve.denied_series import DeniedSeries

_QUESTIONS_SHOWN: Final = 3
_VALUES_SHOWN: Final = 12
_SERIES_ASKED: Final = 100  # of those that are named, to say what they have
_DIFFERENCES_SHOWN: Final = 20
_STUDIES_SAMPLED: Final = 50  # of UIDs that are not Series; if none of them is a Study, the others are not asked for
_IN_NO_SERIES: Final = "no series of the selection has this instance"


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier run knows of a selection: `kept` are the Series that it chose of a sample or within a limit.

    `places_of` gives the places of Series, so that fewer questions find them. `denied` leaves Series out that match.
    """

    kept: Collection[SeriesUid] = ()
    places_of: PlacesOf | None = None
    denied: DeniedSeries | None = None


NOTHING_EARLIER: Final = Earlier()


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
        """Take over the notes and failures of `closure`, once nothing more will be known."""
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
    earlier: Earlier = NOTHING_EARLIER,
    closure: AnnotationClosure | None = None,
) -> AsyncGenerator[FoundSeries, None]:
    """Yield the Series of `selection` in batches as they arrive, and count them in `resolution`.

    Each batch has Series, and what the answers say of their Patients and Studies.
    Those of a sample, a limit or an order come once all are known. Then come those that `closure` adds.

    Raises:
        SelectionError: the selection has no criterion, or nothing fits into its limit.
        BulkdlError: what ends the run, as `Archive` states.
    """
    async with aclosing(_chosen(selection, archive, resolution, earlier)) as chosen:
        async for batch in chosen:
            if closure is not None:
                closure.take(batch.series)
            yield batch
    if closure is not None:
        async with aclosing(closure.extend()) as added:
            async for batch in added:
                yield batch


async def _chosen(
    selection: Selection, archive: Archive, resolution: Resolution, earlier: Earlier
) -> AsyncGenerator[FoundSeries, None]:
    async with aclosing(_admitted(selection, archive, resolution, earlier)) as matching:
        if not selection.is_shortlisted:
            async for batch in matching:
                yield batch
            return
        with Shortlist(selection, archive, earlier.kept) as shortlist:
            async for batch in matching:
                await shortlist.add(batch)
            async for batch in shortlist.chosen():
                resolution.hard_limit_bytes = None if shortlist.is_exact else selection.limit_bytes
                yield batch
            resolution.choices += shortlist.notes


async def _admitted(
    selection: Selection, archive: Archive, resolution: Resolution, earlier: Earlier
) -> AsyncGenerator[FoundSeries, None]:
    """The Series that match, without those that are denied: a sample or a limit does not count them."""
    async with aclosing(_matching(selection, archive, resolution, earlier.places_of)) as matching:
        async for batch in matching:
            yield batch if earlier.denied is None else await earlier.denied.admit(batch)


async def _matching(
    selection: Selection, archive: Archive, resolution: Resolution, places_of: PlacesOf | None
) -> AsyncGenerator[FoundSeries, None]:
    """Yield the Series that match the criteria of `selection`, in batches as they arrive.

    A Series may come more than once. A question that finds nothing is not an error here: the caller reports it. UIDs of
    Series that the archive does not have are asked for as Studies, whose Series are selected then.

    Raises:
        SelectionError: the selection has no criterion.
        BulkdlError: what ends the run, as `Archive` states.
    """
    selection.check()
    if any(part.slides for part in selection.parts()) and not archive.capabilities.slides:
        raise SelectionError("the manifest lists slides of PathDB, which are not at this archive: add --archive pathdb")
    resolution.not_found += (SeriesQuestion({}, sop_uid=uid, reason=_IN_NO_SERIES) for uid in selection.sop_uids)
    if selection.sop_uids and not selection.instances:
        return
    others = replace(selection, alternatives=(), series=())
    for part in selection.parts():
        missing: list[SeriesQuestion] = []
        unnamed: list[SeriesQuestion] = []
        async with aclosing(find_together(part, archive, places_of)) as batches:
            async for found in batches:
                missing += (question for question in found.not_found if question.series_uid)
                unnamed += (question for question in found.not_found if not question.series_uid)
                chosen = _take(replace(found, not_found=()), selection, others, resolution)
                if chosen.series:
                    yield chosen
        for found in await find_unindexed(archive, unnamed) if unnamed else ():
            resolution.choices += notes_of(found.series)
            chosen = _take(found, selection, others, resolution)
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
        found = replace(
            found,
            series=tuple(
                series for series in found.series if others.matches(series) or series.kind is SeriesKind.FILES
            ),
        )
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


async def check_found(selection: Selection, found: Resolution, archive: Archive) -> list[Failure]:
    """The failures of resolving, one for each question that found nothing.

    Raises RequestFailed: nothing was found, and the archive failed to answer a question; SelectionError: nothing was
    found, and no Series or instance was requested by name.
    """
    failures = found.failures()
    if not found.series and found.failed:
        raise found.failed[0][1]
    if (
        not found.series
        and selection.since is None
        and not any(failure.series or failure.instance for failure in failures)
    ):
        raise SelectionError(await explain_nothing(selection, found.not_found, archive))
    return failures


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
    """What the Series that are named, or else of the narrowest criterion, have, where the others select none."""
    attribute, names = selection.narrowest() or ("", ())
    alone, attributes, which = selection.narrowest_alone(), selection.attributes(), f"of {attribute} {', '.join(names)}"
    if selection.series:
        alone, which = Selection(series=selection.series[:_SERIES_ASKED]), "that are named"
        attributes = [name for name in (attribute, *attributes) if name and name != "series_uid"]
    elif not attribute:
        return ""
    values: defaultdict[str, set[str]] = defaultdict(set)
    count = 0
    async with aclosing(archive.find(alone)) as batches:
        async for found in batches:
            for series in found.series:
                count += 1
                for name in attributes:
                    values[name].add(getattr(series, name) or "(none)")
    texts = [f"{name.replace('_', ' ')} {', '.join(sorted(seen)[:_VALUES_SHOWN])}" for name, seen in values.items()]
    return f": the {count:,} series {which} have {' and '.join(texts)}" if texts else ""
