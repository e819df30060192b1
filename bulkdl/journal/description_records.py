"""What archives say of Collections, analysis results, Patients and Studies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from bulkdl.journal import queries, rows, writes
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import Run, moment
from bulkdl.model.descriptions import CollectionDescription, Descriptions, ResultDescription
from bulkdl.model.records import Patient, Series, Study


class DescriptionRecords(JournalDatabase):
    """The descriptions in a journal."""

    def record_descriptions(self, run: Run, found: Descriptions, *, now: datetime) -> None:
        """Record what the archive says beside its Series. Safe to repeat."""
        with self._writing() as database:
            writes.keep_descriptions(database, run, found, moment(now))

    def end_describing(self, run: Run, collection: str, *, now: datetime) -> None:
        """Record that the archive was asked to describe a Collection, even if it sent no description."""
        with self._writing() as database:
            nothing = Descriptions(collections=(CollectionDescription(collection=collection),))
            writes.keep_descriptions(database, run, nothing, moment(now))
            database.execute(queries.KEEP_BARE_STUDIES, (collection,))

    def is_described(self, series: Series) -> bool:
        """Whether the archive was asked what it says of the Collection and the Study of a Series."""
        if self._row(queries.FIND_DESCRIBED, (series.collection,)) is None:
            return False
        study = (series.collection, series.patient_id, series.study_uid)
        return series.study_uid is None or self._row(queries.FIND_STUDY, study) is not None

    def undescribed(self, run: Run, *, limit: int) -> list[str]:
        """The first Collections of Series of the run's archive of which it was never asked."""
        return [name for (name,) in self._rows(queries.UNDESCRIBED, (run.archive_id, limit))]

    def collection_descriptions(self) -> Iterator[CollectionDescription]:
        """What the archives say of Collections, by name."""
        for _, record in self._rows(queries.COLLECTION_DESCRIPTIONS):
            yield rows.description_from(CollectionDescription, record)

    def result_descriptions(self) -> Iterator[ResultDescription]:
        """What the archives say of analysis results, by name."""
        for _, record in self._rows(queries.RESULT_DESCRIPTIONS):
            yield rows.description_from(ResultDescription, record)

    def find_patient(self, collection: str, patient_id: str) -> Patient | None:
        """What the archive says of a Patient; None if nothing is recorded."""
        row = self._row(queries.FIND_PATIENT, (collection, patient_id))
        return None if row is None else rows.description_from(Patient, row[0])

    def find_study(self, collection: str, patient_id: str, study_uid: str) -> Study | None:
        """What the archive says of a Study; None if nothing is recorded."""
        row = self._row(queries.FIND_STUDY, (collection, patient_id, study_uid))
        return None if row is None else rows.description_from(Study, row[0])
