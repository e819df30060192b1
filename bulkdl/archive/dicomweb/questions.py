"""Which searches find a selection. Pure; `archive` sends them.

A search names one criterion, the narrowest that every server must know (PS3.18 §10.6.1.2.1, table 10.6.1-5); servers
ignore those that they do not know. Each answer is compared with the whole selection.
"""

from __future__ import annotations

from typing import Final

from bulkdl.archive.base import SeriesQuestion
from bulkdl.archive.request import Pairs
from bulkdl.errors import SelectionError
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection

_SERIES_AT_ONCE: Final = 50  # each takes up to 65 characters of the address
_AT_STUDIES: Final = {
    "study_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "collection": "ClinicalTrialProtocolID",
    "modality": "ModalitiesInStudy",
}
"""The keys that a search for Studies has for an attribute of a Series."""
NOT_ALWAYS_STATED: Final = frozenset({"body_part", "manufacturer", "model"})
"""What servers need not have in their answers, even if it is requested."""


def plan_questions(selection: Selection) -> list[list[SeriesQuestion]]:
    """The questions that find `selection`; those of one list are asked by one search.

    Raises:
        SelectionError: a criterion is one of which DICOMweb knows nothing.
    """
    if selection.locations:
        raise SelectionError("DICOMweb has no buckets, of which the manifest names folders: use --archive idc")
    if selection.shared_lists:
        raise SelectionError("DICOMweb has no shared lists: name an archive that has, such as --archive nbia-v2")
    if selection.since is not None:
        raise SelectionError(
            "DICOMweb does not say when a series was released, so --since cannot be answered; bulkdl sync finds what "
            "is new in a mirror"
        )
    if selection.series and not selection.studies:
        uids = list(dict.fromkeys(selection.series))
        questions = [SeriesQuestion({"series_uid": uid}, series_uid=uid) for uid in uids]
        return [questions[start : start + _SERIES_AT_ONCE] for start in range(0, len(questions), _SERIES_AT_ONCE)]
    if (narrowest := selection.narrowest()) is None:
        return [[SeriesQuestion({})]]
    name, values = narrowest
    questions = [SeriesQuestion({name: value}) for value in dict.fromkeys(values)]
    return [[question] for question in questions] if name in _AT_STUDIES else [questions]


def query_of(question: SeriesQuestion, otherwise: str) -> Pairs:
    """The query of the search for Studies that answers a question. `otherwise`: see `collection_of`."""
    pairs = ((_AT_STUDIES[name], value) for name, value in question.criteria.items() if name in _AT_STUDIES)
    return tuple(
        (key, value) for key, value in pairs if (key, value.casefold()) != (_AT_STUDIES["collection"], otherwise)
    )


def answers(series: Series, question: SeriesQuestion) -> bool:
    """Whether a Series is one that the question asks for."""
    return all(
        str(getattr(series, name) or "").casefold() == value.casefold() for name, value in question.criteria.items()
    )
