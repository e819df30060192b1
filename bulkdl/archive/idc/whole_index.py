"""The whole index in groups, as a server needs it: a million rows share some thousand combinations of values.

The groups are formed in SQL, so that few values become objects: this takes a third of the time of `search`. A Patient
has the first by alphabet of the sexes that its rows have, a Study likewise an age; some values are odd (`042y`, `N-A`).
"""

# ruff: noqa: S608 - the questions are made of constants

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, cast

from bulkdl.archive.idc.catalogue import IdcCatalogue
from bulkdl.archive.idc.index_rows import BYTES, IS_VALID, license_uri
from bulkdl.model.grouped_series import GroupedRow, SharedValues
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Patient, Series, Study

_NO_UID: Final = SeriesUid("")

_KEYS: Final = {
    "collection": "coalesce(collection_id, '')",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "license": "license_short_name",
    "doi": "lower(source_DOI)",
    "third_party": "analysis_result_id IS NOT NULL",
    "revised": "series_revised_idc_version",
    "sop_class": "SOPClassUID",
    "syntax": "TransferSyntaxUID",
}
"""What makes a kind, in SQL."""

_KINDS: Final = f"""
CREATE TEMP TABLE kinds AS SELECT row_number() OVER () - 1 AS kind, * FROM (
  SELECT DISTINCT {", ".join(f"{column} AS kind_{name}" for name, column in _KEYS.items())}
  FROM series WHERE {IS_VALID})
"""
_STUDIES: Final = f"""
CREATE TEMP TABLE studies AS
SELECT row_number() OVER (ORDER BY collection, upper(patient), patient, uid) - 1 AS study,
  hash(day, description) AS digest, * FROM (
  SELECT coalesce(collection_id, '') AS collection, coalesce(PatientID, '') AS patient, StudyInstanceUID AS uid,
    min(TRY_CAST(StudyDate AS DATE)) AS day, min(StudyDescription) AS description, min(PatientAge) AS age,
    min(PatientSex) AS sex
  FROM series WHERE {IS_VALID} GROUP BY 1, 2, 3)
"""
_ROWS: Final = f"""
SELECT SeriesInstanceUID, k.kind, t.study, SeriesDescription, instanceCount, {BYTES},
  TRY_CAST(SeriesNumber AS INTEGER), aws_bucket || '/' || crdc_series_uuid, TRY_CAST(SeriesDate AS DATE)::VARCHAR,
  CASE WHEN hash(TRY_CAST(s.StudyDate AS DATE), StudyDescription) <> t.digest THEN
    [coalesce(PatientID, ''), TRY_CAST(s.StudyDate AS DATE)::VARCHAR, StudyDescription] END
FROM series AS s
JOIN studies AS t
  ON t.uid = s.StudyInstanceUID AND t.patient = coalesce(PatientID, '') AND t.collection = coalesce(collection_id, '')
JOIN kinds AS k ON {" AND ".join(f"k.kind_{name} IS NOT DISTINCT FROM ({column})" for name, column in _KEYS.items())}
WHERE {IS_VALID}
"""
_INVALID: Final = f"SELECT count(*) FROM series WHERE NOT coalesce({IS_VALID}, false)"


class WholeIndex:
    """See `model.grouped_series.GroupedSeries`. One at a time; `close` gives its memory back."""

    def __init__(self, catalogue: IdcCatalogue) -> None:
        self._catalogue = catalogue
        self._database = catalogue.cursor()
        for statement in (_KINDS, _STUDIES):
            self._database.execute(statement)

    def close(self) -> None:
        """Forget the groups."""
        self._database.close()
        self._catalogue.release_memory()

    def invalid_rows(self) -> int:
        """How many rows do not name a Series, and are left out."""
        return int(self._database.execute(_INVALID).fetchall()[0][0])

    def kinds(self) -> Iterator[SharedValues]:
        """See `GroupedSeries.kinds`."""
        for row in self._database.execute("SELECT * EXCLUDE (kind) FROM kinds ORDER BY kind").fetchall():
            collection, modality, body_part, manufacturer, model, license_name, doi, third_party, revised, *uids = row
            shared = Series(
                series_uid=_NO_UID,
                collection=self._catalogue.name_of(collection),
                modality=modality,
                body_part=body_part,
                manufacturer=manufacturer,
                model=model,
                license_name=license_name,
                license_uri=license_uri(license_name),
                collection_uri=f"https://doi.org/{doi}" if doi else None,
                third_party=third_party,
                released=self._catalogue.date_of(revised),
            )
            yield SharedValues(shared, *uids)

    def studies(self) -> Iterator[tuple[Patient, Study]]:
        """See `GroupedSeries.studies`."""
        found = self._database.execute("SELECT * EXCLUDE (study, digest) FROM studies ORDER BY study")
        for rows in found.pages():
            for collection_id, patient_id, uid, day, description, age, sex in rows:
                collection = self._catalogue.name_of(collection_id)
                yield (
                    Patient(collection=collection, patient_id=patient_id, sex=sex or None),
                    Study(
                        study_uid=StudyUid(uid),
                        collection=collection,
                        patient_id=patient_id,
                        study_date=day,
                        description=description,
                        patient_age=age or None,
                        patient_sex=sex or None,
                    ),
                )

    def rows(self) -> Iterator[Sequence[GroupedRow]]:
        """See `GroupedSeries.rows`."""
        for rows in self._database.execute(_ROWS).pages():
            yield cast("list[GroupedRow]", rows)
