"""The corpus as a bucket in the form of the IDC: folders of UUIDs, ready answers of ListObjectsV2, and an index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.bucket_server import BUCKET, list_xml_of, series_uuid, uuid_of
from tests.support.idc_index import series_row, write_index

if TYPE_CHECKING:
    from tests.benchmarks.corpus import Instance

OBJECTS: Final = f"bucket/{BUCKET}"
LISTS: Final = "lists"
INDEX: Final = "index"
_COLLECTION: Final = "bench"


def build(root: Path, instances: Iterable[Instance]) -> None:
    """Make the bucket of `instances` below `root`. The objects are links to the files of the corpus."""
    (root / LISTS).mkdir()
    (root / LISTS / "nothing.xml").write_bytes(list_xml_of(BUCKET, "", []))  # s5cmd asks first if the bucket exists
    rows = []
    for number, (series_uid, group) in enumerate(groupby(instances, key=attrgetter("series_uid"))):
        of_series, folder = list(group), series_uuid(series_uid)
        _build_folder(root, folder, of_series)
        row = {
            "collection_id": _COLLECTION,
            "PatientID": "P",
            "StudyInstanceUID": of_series[0].study_uid,
            "SeriesInstanceUID": series_uid,
            "instanceCount": len(of_series),
            "series_size_MB": sum(one.size_bytes for one in of_series) / 1e6,
            "aws_bucket": BUCKET,
            "crdc_series_uuid": folder,
        }
        rows.append(series_row(number, **row))
    write_index(root / INDEX, rows, names={_COLLECTION: _COLLECTION})


def _build_folder(root: Path, folder: str, instances: list[Instance]) -> None:
    (root / OBJECTS / folder).mkdir(parents=True)
    objects = []
    for one in instances:
        key, path = f"{folder}/{uuid_of('instance', one.sop_uid)}.dcm", one.path(root)
        os.link(path, root / OBJECTS / key)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        objects.append((key, f'"{digest.hexdigest()}"', one.size_bytes))
    (root / LISTS / f"{folder}.xml").write_bytes(list_xml_of(BUCKET, f"{folder}/", sorted(objects)))


def manifest(instances: Iterable[Instance], to: str = ".") -> str:
    """The lines for `s5cmd run` that download all Series of `instances` to the folder `to`."""
    folders = dict.fromkeys(series_uuid(one.series_uid) for one in instances)
    return "".join(f"cp s3://{BUCKET}/{folder}/* {to}\n" for folder in folders)
