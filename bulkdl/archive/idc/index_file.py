"""Write an index of Series in the form of the IDC's `idc_index.parquet`, and what belongs to it.

Source: the file of package `idc-index-data` 25.0.5: its columns, their types, its order, and its metadata key.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from bulkdl.errors import DiskError
from bulkdl.model.dois import doi_of_address
from bulkdl.model.grouped_series import GroupedRow, GroupedSeries, SharedValues, iso
from bulkdl.model.licenses import short_license
from bulkdl.model.records import Patient, Study
from bulkdl.runtime.disk import disk_errors

# To sort a million rows takes more memory, so they stay in their order: duckdb reads the Series one by one, and looks
# up what they share. Without these settings it may do it the other way round.
_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "threads": 1,
    "memory_limit": "96MB",
    "disabled_optimizers": "join_order,build_side_probe_side",
}
_NAMES: Final = (
    *("collection_id", "analysis_result_id", "PatientID", "SeriesInstanceUID", "StudyInstanceUID", "source_DOI"),
    *("PatientAge", "PatientSex", "StudyDate", "StudyDescription", "BodyPartExamined", "Modality", "SOPClassUID"),
    *("sop_class_name", "TransferSyntaxUID", "transfer_syntax_name", "PhotometricInterpretation"),
    *("PixelRepresentation", "Manufacturer", "ManufacturerModelName", "SeriesDate", "SeriesDescription"),
    *("SeriesNumber", "instanceCount", "license_short_name", "series_init_idc_version", "series_revised_idc_version"),
    *("aws_bucket", "crdc_series_uuid", "series_aws_url", "series_size_MB"),
)
COLUMNS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_NAMES, "VARCHAR"),
    **dict.fromkeys(("instanceCount", "series_init_idc_version", "series_revised_idc_version"), "BIGINT"),
    "series_size_MB": "DOUBLE",
}
"""The columns in their order, each with its type in SQL."""

_MOST_BYTES: Final = 1 << 22  # of a line; duckdb takes a multiple of it as a buffer
_ROWS: Final = 20_480  # of a row group, which is in memory while it is written
_NAME_COLUMNS: Final = {"collection_id": "VARCHAR", "collection_name": "VARCHAR"}
_KIND_COLUMNS: Final = (
    *("collection_id", "source_DOI", "BodyPartExamined", "Modality", "SOPClassUID", "sop_class_name"),
    *("TransferSyntaxUID", "transfer_syntax_name", "Manufacturer", "ManufacturerModelName", "license_short_name"),
)
_STUDY_COLUMNS: Final = (
    *("StudyInstanceUID", "PatientID", "PatientSex"),
    *("PatientAge", "StudyDate", "StudyDescription"),
)
_KINDS: Final = {"kind": "INTEGER", **dict.fromkeys(_KIND_COLUMNS, "VARCHAR")}
_STUDIES: Final = dict.fromkeys(_STUDY_COLUMNS, "VARCHAR")
_SERIES: Final = {
    **dict.fromkeys(GroupedRow._fields, "VARCHAR"),
    **dict.fromkeys(("kind", "study", "image_count", "size_bytes", "series_number"), "BIGINT"),
    "differing": "VARCHAR[]",
}
_VALUES: Final[Mapping[str, str]] = {
    **{name: f"k.{name}" for name in _KIND_COLUMNS},
    **{name: f"s.{name}" for name in _STUDY_COLUMNS},
    "PatientID": "CASE WHEN differing IS NULL THEN s.PatientID ELSE differing[1] END",
    "StudyDate": "coalesce(differing[2], s.StudyDate)",
    "StudyDescription": "CASE WHEN differing IS NULL THEN s.StudyDescription ELSE differing[3] END",
    "SeriesInstanceUID": "series_uid",
    "SeriesDate": "series_date",
    "SeriesDescription": "description",
    "SeriesNumber": "series_number",
    "instanceCount": "image_count",
    "series_init_idc_version": "1",
    "series_revised_idc_version": "1",
    "aws_bucket": "split_part(location, '/', 1)",
    "crdc_series_uuid": "split_part(location, '/', 2)",
    "series_aws_url": "'s3://' || location || '/*'",
    "series_size_MB": "size_bytes / 1e6",
}
"""The columns of an index in SQL, of the tables `series` as `s` and `kinds` as `k`."""

_encode: Final = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make an encoder for each line


def collection_id(name: str) -> str:
    """The id that the IDC would give a Collection."""
    return re.sub(r"[-\s]", "_", name.lower())


def write_index(series: GroupedSeries, path: Path, *, version: str, uid_names: Mapping[str, str]) -> None:
    """Write an index of all Series at `path`. They come in the order of their Studies, and stay in it.

    `version` is `idc_index_data_version`, `uid_names` has the names of SOP classes and transfer syntaxes. Blocking: a
    million Series take seconds. Memory does not grow with their number.

    Raises:
        DiskError: it cannot be written; nothing is at `path` then.
    """
    tables = {
        "kinds": (_KINDS, (_line(_kind(at, kind, uid_names)) for at, kind in enumerate(series.kinds()))),
        "studies": (_STUDIES, (_line(_study(*each)) for each in series.studies())),
        "series": ({**_STUDIES, **_SERIES}, _with_studies(series, _lines(path, "studies"))),
    }
    values = ", ".join(f"CAST({_VALUES.get(name, 'NULL')} AS {kind}) AS {name}" for name, kind in COLUMNS.items())
    _write(tables, f"SELECT {values} FROM series AS s JOIN kinds AS k USING (kind)", path, version)  # noqa: S608


def write_names(names: Mapping[str, str], path: Path, *, version: str) -> None:
    """Write the names of Collections by their ids, as the IDC does in `collections_index.parquet`.

    Raises:
        DiskError: they cannot be written.
    """
    lines = (_line({"collection_id": key, "collection_name": name}) for key, name in names.items())
    _write({"names": (_NAME_COLUMNS, lines)}, "FROM names ORDER BY collection_id", path, version)


def _kind(at: int, kind: SharedValues, uid_names: Mapping[str, str]) -> dict[str, object]:
    shared = kind.shared
    return {
        "kind": at,
        "collection_id": collection_id(shared.collection),
        "source_DOI": doi_of_address(shared.collection_uri),
        "BodyPartExamined": shared.body_part,
        "Modality": shared.modality,
        "SOPClassUID": kind.sop_class_uid,
        "sop_class_name": uid_names.get(kind.sop_class_uid or ""),
        "TransferSyntaxUID": kind.transfer_syntax_uid,
        "transfer_syntax_name": uid_names.get(kind.transfer_syntax_uid or ""),
        "Manufacturer": shared.manufacturer,
        "ManufacturerModelName": shared.model,
        "license_short_name": short_license(shared.license_name, shared.license_uri),
    }


def _study(patient: Patient, study: Study) -> dict[str, object]:
    return {
        "StudyInstanceUID": study.study_uid or None,
        "PatientID": patient.patient_id,
        "PatientSex": patient.sex,
        "PatientAge": study.patient_age,
        "StudyDate": iso(study.study_date),
        "StudyDescription": study.description,
    }


def _with_studies(series: GroupedSeries, studies: Path) -> Iterator[str]:
    """The lines of Series, each with the values of its Study. To look them up takes more memory."""
    with studies.open(encoding="utf-8") as file:
        at, line = -1, ""
        for rows in series.rows():
            for row in rows:
                while at < row[2]:
                    at, line = at + 1, next(file)
                yield f"{line[:-2]}, {_line(dict(zip(GroupedRow._fields, row, strict=True)))[1:]}"


def _line(row: Mapping[str, object]) -> str:
    return f"{_encode(row)}\n"


def _lines(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}.{name}.jsonl")


_Table: TypeAlias = tuple[Mapping[str, str], Iterable[str]]
"""The columns of a table with their types, and its rows as lines of JSON."""


def _write(tables: Mapping[str, _Table], question: str, path: Path, version: str) -> None:
    """Write the answer to a question about some tables. Their rows go through files, so that memory does not grow."""
    import duckdb  # noqa: PLC0415 - late: it takes a tenth of a second

    made = path.with_name(f"{path.name}.part")
    lines = {name: _lines(path, name) for name in tables}
    sorting = path.with_name(f"{path.name}.sorting")  # of millions of rows; not the current folder, as by default
    try:
        with disk_errors("write", path):
            for name, (_, content) in tables.items():
                with lines[name].open("w", encoding="utf-8", errors="replace") as file:
                    file.writelines(content)
            with duckdb.connect(config={**_SETTINGS, "temp_directory": str(sorting)}) as database:
                for name, (columns, _) in tables.items():
                    database.execute(_table(name, lines[name], columns))
                database.execute(
                    f"COPY ({question}) TO {_quoted(made)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROWS}, "
                    f"KV_METADATA {{idc_index_data_version: {_quoted(version)}}})"
                )
            made.replace(path)
    except duckdb.Error as error:
        raise DiskError(f"the index {path} cannot be made: {error}") from error
    finally:
        for rest in (*lines.values(), made):
            rest.unlink(missing_ok=True)
        shutil.rmtree(sorting, ignore_errors=True)


def _table(name: str, lines: Path, columns: Mapping[str, str]) -> str:
    typed = ", ".join(f"{_quoted(column)}: '{kind}'" for column, kind in columns.items())
    options = f"format = 'newline_delimited', maximum_object_size = {_MOST_BYTES}, columns = {{{typed}}}"
    source = f"read_json({_quoted(lines)}, {options})"
    return f"CREATE TEMP VIEW {name} AS FROM {source}"


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
