"""Which getSeries questions find a selection. Pure; `archive` sends them.

One getSeries is sent for each Collection, Patient, Study or Series of the narrowest criterion that loses nothing;
`Selection.matches` filters the answers by the others. NBIA v1 compares modalities, body
parts and manufacturers by the collation of its database, so those are sent only where nothing else narrows.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from bulkdl.archive.base import SeriesQuestion
from bulkdl.errors import SelectionError
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection


def plan_questions(selection: Selection, collections: tuple[str, ...] = ()) -> list[SeriesQuestion]:
    """The questions that find `selection`. `collections` are all names of the archive; a whole archive needs them."""
    if selection.locations:
        raise SelectionError("this archive has no buckets, of which the manifest names folders: use --archive idc")
    if selection.shared_lists:  # first, because only the archive knows what is in them
        return [SeriesQuestion({"shared_list": name}) for name in dict.fromkeys(selection.shared_lists)]
    if selection.series:
        return [SeriesQuestion({"series_uid": uid}, series_uid=uid) for uid in dict.fromkeys(selection.series)]
    if selection.patients and selection.collections:
        pairs = product(dict.fromkeys(selection.collections), dict.fromkeys(selection.patients))
        return [SeriesQuestion({"collection": collection, "patient_id": patient}) for collection, patient in pairs]
    if (narrowest := selection.narrowest()) is not None:
        name, values = narrowest
        return [SeriesQuestion({name: value}) for value in dict.fromkeys(values)]
    return [SeriesQuestion({"collection": collection}) for collection in collections]


def completed(series: Series, question: SeriesQuestion) -> Series:
    """The record with Collection and Patient from the question where the answer omits them, as some archives do."""
    if not series.collection and (collection := question.criteria.get("collection")):
        series = replace(series, collection=collection)
    if not series.patient_id and (patient := question.criteria.get("patient_id")):
        series = replace(series, patient_id=patient)
    return series
