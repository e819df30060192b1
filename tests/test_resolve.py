"""Series and entries of a selection, whatever archive answers: what is counted, listed again and named as missing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import cast

import pytest

from bulkdl.archive.base import Archive, Capabilities, FoundSeries, SeriesQuestion
from bulkdl.errors import NotFound, SelectionError, ServerFailed
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.resolve import Resolution, explain_nothing, resolve

ONE, TWO = Series(series_uid=SeriesUid("1.1")), Series(series_uid=SeriesUid("1.2"))
NAMED = SeriesQuestion({"series_uid": "1.3"}, series_uid=SeriesUid("1.3"))
COLLECTION = SeriesQuestion({"collection": "TCGA-GMB"})


class Found:
    """An archive that finds what it is given."""

    capabilities = Capabilities(takes_login=True)

    def __init__(self, *batches: FoundSeries) -> None:
        self._batches = batches

    async def find(self, _selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        for batch in self._batches:
            yield batch

    async def collections(self) -> tuple[str, ...]:
        return ("TCGA-GBM", "TCGA-LUAD")


def archive(*batches: FoundSeries) -> Archive:
    return cast("Archive", Found(*batches))


async def test_batches_come_as_the_archive_sends_them() -> None:
    resolution = Resolution()
    found = archive(FoundSeries((ONE,)), FoundSeries(not_found=(NAMED,)), FoundSeries((TWO,)))
    assert [batch async for batch in resolve(Selection(everything=True), found, resolution)] == [(ONE,), (TWO,)]
    assert (resolution.series, resolution.not_found) == (2, [NAMED])


async def test_a_selection_of_nothing_asks_nothing() -> None:
    with pytest.raises(SelectionError):
        await anext(resolve(Selection(), archive(), Resolution()))


def test_each_question_without_series_is_one_failure() -> None:
    error = ServerFailed("the archive answered 500", status=500)
    error.attempts = 3
    resolution = Resolution(not_found=[NAMED, COLLECTION], failed=[(COLLECTION, error)])
    found = [(failure.series, failure.error, failure.attempts) for failure in resolution.failures()]
    assert found == [("1.3", NotFound.code, 1), ("", NotFound.code, 1), ("", ServerFailed.code, 3)]


async def test_a_misspelt_collection_is_explained_with_a_suggestion() -> None:
    text = await explain_nothing(Selection(collections=("TCGA-GMB",)), [COLLECTION], archive())
    assert text == "the archive has no series for collection TCGA-GMB; did you mean TCGA-GBM?"


async def test_criteria_that_exclude_each_other_are_explained_by_what_there_is() -> None:
    found = FoundSeries((replace(ONE, modality="MR", body_part="HEAD"), replace(TWO, modality="CT", body_part="CHEST")))
    selection = Selection(collections=("TCGA-GBM",), modalities=("XX",), body_parts=("head",))
    text = await explain_nothing(selection, [], archive(found))
    assert text == (
        "the archive has no series for the criteria together: "
        "the 2 series of collection TCGA-GBM have modality CT, MR and body part CHEST, HEAD"
    )


async def test_a_collection_that_is_not_shown_may_need_a_login() -> None:
    known = await archive().collections()
    text = await explain_nothing(Selection(collections=known[:1]), [COLLECTION], archive())
    assert text.endswith("; if it is restricted, it needs a login: --username")


async def test_no_more_than_three_questions_are_named() -> None:
    questions = [SeriesQuestion({"patient_id": str(number)}) for number in range(5)]
    text = await explain_nothing(Selection(patients=("0",)), questions, archive())
    assert text == "the archive has no series for patient id 0; patient id 1; patient id 2; and 2 more"
