"""Rows of the index of IDC: the columns that are asked for, and the Series, Patients and Studies that they describe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, Final, TypeAlias

from bulkdl.model.descriptions import NO_DESCRIPTIONS, Descriptions
from bulkdl.model.ids import StudyUid
from bulkdl.model.records import Patient, Series, Study

Row: TypeAlias = tuple[Any, ...]

_CREATIVE_COMMONS: Final = re.compile(r"CC (BY(?:-[A-Z]{2})*) (\d\.\d)")

# What is not a UID, a folder or a bucket is refused, because it becomes part of paths and addresses.
_UID: Final = "[0-9.]{1,64}"
_UUID: Final = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_BUCKET: Final = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
IS_VALID: Final = (
    f"regexp_full_match(SeriesInstanceUID, '{_UID}') AND regexp_full_match(StudyInstanceUID, '{_UID}')"
    f" AND regexp_full_match(crdc_series_uuid, '{_UUID}') AND regexp_full_match(aws_bucket, '{_BUCKET}')"
)
"""The condition in SQL that a row names a Series."""

COLLECTION: Final = "coalesce(collection_id, '')"
"""The id of the Collection of a Series in SQL."""
BYTES: Final = "CAST(round(series_size_MB * 1e6) AS BIGINT)"
"""The bytes of a Series in SQL."""
_BOTH: Final = f"""
SELECT {IS_VALID}, SeriesInstanceUID, StudyInstanceUID, PatientID, {COLLECTION}, Modality, {BYTES},
  aws_bucket || '/' || crdc_series_uuid"""

SERIES: Final = f"""{_BOTH}, instanceCount, series_revised_idc_version, license_short_name, lower(source_DOI),
  analysis_result_id IS NOT NULL, BodyPartExamined, Manufacturer, ManufacturerModelName, SeriesDescription,
  TRY_CAST(SeriesNumber AS INTEGER), TRY_CAST(SeriesDate AS DATE), StudyDescription, TRY_CAST(StudyDate AS DATE),
  PatientSex, PatientAge
FROM series"""
"""The question for Series of the current release; a condition may follow."""

EARLIER: Final = f"""{_BOTH}, max_idc_version, SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM series)
FROM prior WHERE """
"""The question for Series of earlier releases; a condition follows."""


@dataclass(frozen=True, slots=True)
class IndexedSeries:
    """Series of the index, their Patients and Studies, and the number of rows that name none."""

    series: tuple[Series, ...] = ()
    invalid_rows: int = 0
    descriptions: Descriptions = NO_DESCRIPTIONS


def series_of(row: Row, names: Mapping[str, str], dates: Mapping[int, date]) -> Series:
    """The Series of a row of `SERIES`, with the names of Collections by their ids, and the dates of releases."""
    return Series(
        series_uid=row[1],
        study_uid=row[2],
        patient_id=row[3] or "",
        collection=names[row[4]],
        modality=row[5],
        size_bytes=row[6],
        location=row[7],
        image_count=row[8],
        released=dates.get(row[9]),
        license_name=row[10],
        license_uri=license_uri(row[10]),
        collection_uri=f"https://doi.org/{row[11]}" if row[11] else None,
        third_party=row[12],
        body_part=row[13],
        manufacturer=row[14],
        model=row[15],
        description=row[16],
        series_number=row[17],
        series_date=row[18],
        study_description=row[19],
        study_date=row[20],
    )


def earlier_series_of(row: Row, names: Mapping[str, str]) -> Series:
    """The Series of a row of `EARLIER`: its `remark` says since which release IDC lacks it."""
    return Series(
        series_uid=row[1],
        study_uid=row[2],
        patient_id=row[3] or "",
        collection=names.get(row[4]) or str(row[4]),
        modality=row[5],
        size_bytes=row[6],
        location=row[7],
        remark=f"{'superseded' if row[9] else 'withdrawn'} since release {row[8] + 1} of IDC",
    )


def parents_of(rows: Iterable[tuple[Series, Row]]) -> Descriptions:
    """The Patients and Studies of Series, each once, with the sex and the age that end a row of `SERIES`."""
    patients: dict[tuple[str, str], Patient] = {}
    studies: dict[tuple[str, str, StudyUid], Study] = {}
    for series, (sex, age) in rows:
        owner = series.collection, series.patient_id
        if owner not in patients:
            patients[owner] = Patient(collection=owner[0], patient_id=owner[1], sex=sex or None)
        if series.study_uid is not None and (*owner, series.study_uid) not in studies:
            studies[*owner, series.study_uid] = Study(
                collection=owner[0],
                patient_id=owner[1],
                study_uid=series.study_uid,
                study_date=series.study_date,
                description=series.study_description or None,
                patient_age=age or None,
                patient_sex=sex or None,
            )
    return Descriptions(patients=tuple(patients.values()), studies=tuple(studies.values()))


@cache  # the index has five licences
def license_uri(name: str | None) -> str | None:
    """The address of a licence of Creative Commons, such as `CC BY 4.0`; None for another one."""
    found = _CREATIVE_COMMONS.fullmatch(name or "")
    return f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/" if found is not None else None
