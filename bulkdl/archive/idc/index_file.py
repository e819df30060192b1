"""Write an index of Series in the form of the IDC's `idc_index.parquet`, and what belongs to it.

Source: the file of package `idc-index-data` 25.0.5: its columns, their types, its order, and its metadata key.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from bulkdl.errors import DiskError
from bulkdl.runtime.disk import disk_errors

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

_NAME_COLUMNS: Final = {"collection_id": "VARCHAR", "collection_name": "VARCHAR"}
_ORDER: Final = ("collection_id", "PatientID", "StudyInstanceUID", "SeriesInstanceUID")


def write_index(rows: Iterable[Mapping[str, object]], path: Path, *, version: str) -> None:
    """Write an index at `path`. A column that a row does not have is null; `version` is `idc_index_data_version`.

    Raises:
        DiskError: it cannot be written; nothing is at `path` then.
    """
    _write(rows, path, COLUMNS, version)


def write_names(names: Mapping[str, str], path: Path, *, version: str) -> None:
    """Write the names of Collections by their ids, as the IDC does in `collections_index.parquet`.

    Raises:
        DiskError: they cannot be written.
    """
    rows = ({"collection_id": key, "collection_name": name} for key, name in names.items())
    _write(rows, path, _NAME_COLUMNS, version)


def _write(rows: Iterable[Mapping[str, object]], path: Path, columns: Mapping[str, str], version: str) -> None:
    import duckdb  # noqa: PLC0415 - late: it takes a tenth of a second

    lines, made = path.with_name(f"{path.name}.jsonl"), path.with_name(f"{path.name}.part")
    sorting = path.with_name(f"{path.name}.sorting")  # of millions of rows; not the current folder, as by default
    typed = ", ".join(f"{_quoted(name)}: '{kind}'" for name, kind in columns.items())
    order = ", ".join(name for name in _ORDER if name in columns)
    try:
        with disk_errors("write", path):
            with lines.open("w", encoding="utf-8", errors="replace") as file:
                file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
            with duckdb.connect(
                config={"threads": 1, "memory_limit": "256MB", "temp_directory": str(sorting)}
            ) as database:
                database.execute(
                    f"COPY (SELECT * FROM read_json({_quoted(lines)}, format = 'newline_delimited', "  # noqa: S608
                    f"columns = {{{typed}}}) ORDER BY {order}) TO {_quoted(made)} (FORMAT parquet, COMPRESSION zstd, "
                    f"KV_METADATA {{idc_index_data_version: {_quoted(version)}}})"
                )
            made.replace(path)
    except duckdb.Error as error:
        raise DiskError(f"the index {path} cannot be made: {error}") from error
    finally:
        for rest in (lines, made):
            rest.unlink(missing_ok=True)
        shutil.rmtree(sorting, ignore_errors=True)


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
