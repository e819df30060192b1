"""All Series of a view in groups, see `model.grouped_series`: what writes a million Series reads few records."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import islice
from typing import Any, Final, TypeAlias

from bulkdl.model.grouped_series import GroupedRow, SharedValues, iso
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Patient, Series, Study
from bulkdl.server.catalogue.view import CatalogueView, among, record_values

_PAGE: Final = 2_000
_DIFFERING: Final = ("patient_id", "study_date", "study_description")
_COLUMNS: Final = (
    "t.series_uid, t.kind, t.study, t.patient, t.description, t.image_count, t.size_bytes, t.series_number, "
    "t.series_date"
)
_STUDIES: Final = 500  # at once, some thousand Series
_NO_UID: Final = SeriesUid("")
_Differing: TypeAlias = tuple[str | None, ...]


class GroupedView:
    """See `model.grouped_series.GroupedSeries`. Everything is read in this order: kinds, Studies, rows.

    `location` gives that of a Series by its UID. Patients of Series that name no Study have one without a UID.
    """

    def __init__(self, view: CatalogueView, location: Callable[[str], str]) -> None:
        self._view = view
        self._location = location
        self._kinds: dict[int, tuple[int, _Differing | None]] = {}
        self._studies: dict[int, int] = {}
        self._patients: dict[int, int] = {}

    def kinds(self) -> Iterator[SharedValues]:
        """See `GroupedSeries.kinds`."""
        found = self._view.pages("kind AS t", ("number",), ("t.number", "t.record", "t.extra"), (), size=_PAGE)
        for at, (number, record, extra) in enumerate(found):
            values = dict(record_values(record))
            differing = tuple(_text(values.pop(name)) for name in _DIFFERING) if _DIFFERING[0] in values else None
            self._kinds[number] = at, differing
            more = json.loads(extra)
            uids = more.get("sop_class_uid"), more.get("transfer_syntax_uid")
            yield SharedValues(Series(series_uid=_NO_UID, **values), *uids)

    def studies(self) -> Iterator[tuple[Patient, Study]]:
        """See `GroupedSeries.studies`. By Collection, Patient and UID; those without a UID are the last."""
        order, columns = ("collection_key", "patient_key", "study_uid"), ("t.number", "p.record", "t.record")
        source = "study AS t CROSS JOIN patient AS p ON p.number = t.patient"
        for number, patient, study in self._view.pages(source, order, columns, (), size=_PAGE):
            self._studies[number] = len(self._studies)
            yield Patient(**record_values(patient)), Study(**record_values(study))
        has_other = ("t.number IN (SELECT patient FROM tally WHERE study = 0)", ())
        for number, patient in self._view.pages("patient AS t", order[:2], columns[::2], [has_other]):
            self._patients[number] = len(self._studies) + len(self._patients)
            yield Patient(**record_values(patient)), Study(study_uid=StudyUid(""))

    def rows(self) -> Iterator[Sequence[GroupedRow]]:
        """See `GroupedSeries.rows`. In the order of the Studies, and by UID."""
        for column, numbers, more in (
            ("study", self._studies, ()),
            ("patient", self._patients, (("t.study = 0", ()),)),
        ):
            remaining = iter(numbers)
            while chunk := list(islice(remaining, _STUDIES)):
                where, values = self._view.where(among(f"t.{column}", chunk), *more)
                found = self._view.select(f"SELECT {_COLUMNS} FROM series AS t {where}", values)  # noqa: S608 - ours
                yield sorted((self._row(*row) for row in found), key=_place)

    def _row(self, uid: str, kind: int, study: int, patient: int, *own: Any) -> GroupedRow:
        at, differing = self._kinds[kind]
        parent = self._studies[study] if study else self._patients[patient]
        *values, series_date = own
        row = (SeriesUid(uid), at, parent, *values, self._location(uid), series_date, differing)
        return GroupedRow._make(row)


def _place(row: GroupedRow) -> tuple[int, str]:
    return row.study, row.series_uid


def _text(value: str | date | None) -> str | None:
    return iso(value) if isinstance(value, date) else value
