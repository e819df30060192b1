"""The index of the bucket: every Series that a guest may see, in the form of the IDC's index."""

import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bulkdl.archive.idc.index_file import write_index, write_names
from bulkdl.dicom.tags import uid_names
from bulkdl.model.data_sets import short_license
from bulkdl.model.ids import stable_uuid
from bulkdl.runtime.disk import disk_errors
from bulkdl.server.catalogue import CatalogueView, SeriesDetail

BUCKET: Final = "bulkdl"
_DOI: Final = re.compile(r"https?://(?:dx\.)?doi\.org/(10\..+)")
_BYTES_OF_A_MEGABYTE: Final = 1_000_000


class IndexFile:
    """The index of what `view` shows, and the names of its Collections.

    They are made when they are needed first, and again when the Series have changed.
    """

    def __init__(self, view: CatalogueView, folder: Path, name: str) -> None:
        self._view = view
        self._folder = folder
        self._name = name
        self._lock = threading.Lock()
        self._digests: dict[Path, tuple[bytes, str]] = {}

    def paths(self) -> dict[str, Path]:
        """The files by their names in the bucket, in order. Blocks while they are made.

        Raises:
            DiskError: they cannot be made.
        """
        with self._lock:
            shown = "\0".join([self._view.stamp(), *sorted(self._view.hidden)])
            digest = hashlib.sha256(shown.encode()).hexdigest()[:12]
            version = f"1.0.{int(digest[:8], 16)}-0-g{digest}"  # clients compare its numbers alone
            names, series = (self._folder / f"{self._name}.{kind}-{digest}.parquet" for kind in ("names", "index"))
            if not (series.exists() and names.exists()):
                write_names({_id_of(name): name for name in self._view.collections()}, names, version=version)
                write_index(_rows(self._view), series, version=version)
                for old in self._folder.glob(f"{self._name}.*-*.parquet"):
                    if old not in {names, series}:
                        old.unlink(missing_ok=True)
            return {"collections_index.parquet": names, "idc_index.parquet": series}

    def digests(self, path: Path) -> tuple[bytes, str]:
        """The MD5 of one of the files, and its SHA-256 in hexadecimal digits."""
        with self._lock:
            if path not in self._digests:
                with disk_errors("read", path):
                    content = path.read_bytes()
                md5 = hashlib.md5(content, usedforsecurity=False).digest()
                self._digests[path] = md5, hashlib.sha256(content).hexdigest()
            return self._digests[path]


def _rows(view: CatalogueView) -> Iterator[dict[str, Any]]:
    classes, syntaxes = uid_names("SOP Class"), uid_names("Transfer Syntax")
    for detail in view.details():
        yield {
            **_row(detail),
            "sop_class_name": classes.get(detail.sop_class_uid or ""),
            "transfer_syntax_name": syntaxes.get(detail.transfer_syntax_uid or ""),
        }


def _row(detail: SeriesDetail) -> dict[str, Any]:
    series, study = detail.series, detail.study
    uuid = stable_uuid(series.series_uid)
    doi = _DOI.fullmatch(series.collection_uri or "")
    study_date = series.study_date or (study and study.study_date)
    return {
        "collection_id": _id_of(series.collection),
        "PatientID": series.patient_id,
        "SeriesInstanceUID": series.series_uid,
        "StudyInstanceUID": series.study_uid,
        "source_DOI": doi and doi[1].lower(),
        "PatientAge": study and study.patient_age,
        "PatientSex": detail.patient.sex,
        "StudyDate": study_date and study_date.isoformat(),
        "StudyDescription": series.study_description,
        "BodyPartExamined": series.body_part,
        "Modality": series.modality,
        "SOPClassUID": detail.sop_class_uid,
        "TransferSyntaxUID": detail.transfer_syntax_uid,
        "Manufacturer": series.manufacturer,
        "ManufacturerModelName": series.model,
        "SeriesDate": series.series_date and series.series_date.isoformat(),
        "SeriesDescription": series.description,
        "SeriesNumber": None if series.series_number is None else str(series.series_number),
        "instanceCount": series.image_count,
        "license_short_name": short_license(series.license_name, series.license_uri),
        "series_init_idc_version": 1,
        "series_revised_idc_version": 1,
        "aws_bucket": BUCKET,
        "crdc_series_uuid": uuid,
        "series_aws_url": f"s3://{BUCKET}/{uuid}/*",
        "series_size_MB": None if series.size_bytes is None else series.size_bytes / _BYTES_OF_A_MEGABYTE,
    }


def _id_of(collection: str) -> str:
    """The id that the IDC would give a Collection."""
    return re.sub(r"[-\s]", "_", collection.lower())
