"""The objects that are fetched: collections of valid, made-up DICOM files, and every answer of a TCIA v3 archive.

A part of them is a bucket in the form of the IDC as well; see `bucket`.

All of it is static files, so that the server costs next to nothing. Built once, in the temporary folder, and kept.
Zips are stored, not deflated, and ready before they are asked for: the peers that use them are at their best.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MultiFrameGrayscaleWordSecondaryCaptureImageStorage

from tests.benchmarks import bucket
from tests.support.dicom_files import uid

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = "3"
_SMALL_IN_BUCKET: Final = 80  # Series
_PRIVATE_TEXTS: Final = 40  # elements beside those that matter, so that a header is as long as those of scanners


@dataclass(frozen=True, slots=True)
class Shape:
    """A collection: so many Series of so many instances of so many frames, each a square of `side` 16-bit pixels."""

    name: str
    series: int
    per_series: int
    side: int
    frames: int = 1


SMALL: Final = Shape("BENCH-SMALL", 100, 100, 64)
CT: Final = Shape("BENCH-CT", 20, 100, 512)
MORE_CT: Final = Shape("BENCH-MORE-CT", 20, 100, 512)
FEW_CT: Final = Shape("BENCH-FEW-CT", 2, 12, 512)
LARGE: Final = Shape("BENCH-LARGE", 3, 2, 1024, frames=64)
SHAPES: Final = (SMALL, CT, MORE_CT, FEW_CT, LARGE)
TINY: Final = Shape("BENCH-TINY", 1, 1, 8)


@dataclass(frozen=True, slots=True)
class Instance:
    """One object of the corpus."""

    study_uid: str
    series_uid: str
    sop_uid: str
    size_bytes: int
    sha256: str

    def path(self, root: Path) -> Path:
        """Its file in the corpus at `root`."""
        return root / "data" / self.series_uid / f"{self.sop_uid}.dcm"


@dataclass(frozen=True, slots=True)
class Corpus:
    """The corpus in `root`: `data/SERIES/SOP.dcm`, `zip/SERIES.zip`, and the answers in `json/`."""

    root: Path

    def instances(self, shape: Shape, series: int | None = None) -> list[Instance]:
        """The objects of a collection, or of its first Series."""
        rows = [Instance(*row) for row in json.loads((self.root / f"{shape.name}.json").read_text())]
        return rows if series is None else rows[: series * shape.per_series]

    def in_bucket(self, series: int | None = None) -> list[Instance]:
        """The objects of the bucket: 100 Series of small and CT instances, and 6 large instances.

        With `series`, those of so many of each kind.
        """
        shapes = {SMALL: _SMALL_IN_BUCKET, CT: CT.series, LARGE: LARGE.series}
        return [one for shape, count in shapes.items() for one in self.instances(shape, series or count)]


def ready(root: Path) -> Corpus:
    """The corpus in `root`, built now where it is not there in its present form."""
    stamp, made = root / "version", Corpus(root)
    if not stamp.is_file() or stamp.read_text() != VERSION:
        shutil.rmtree(root, ignore_errors=True)
        for folder in ("data", "zip", "json/getSeries", "json/getSOPInstanceUIDs", "json/getSeriesSize"):
            (root / folder).mkdir(parents=True)
        for shape in SHAPES:
            _build(root, shape)
        bucket.build(root, made.in_bucket())
        stamp.write_text(VERSION)
    return made


def _build(root: Path, shape: Shape) -> None:
    pixels = random.Random(shape.name).randbytes(min(shape.side**2 * 2, 1 << 20))  # noqa: S311 - noise
    pixels *= shape.side**2 * 2 * shape.frames // len(pixels)
    rows, records = [], []
    for number in range(shape.series):
        study, series = uid(shape.name, "study", number), uid(shape.name, "series", number)
        template = template_of(shape, study, series, pixels)
        (root / "data" / series).mkdir()
        with zipfile.ZipFile(root / "zip" / f"{series}.zip", "w", zipfile.ZIP_STORED) as bundle:
            for index in range(shape.per_series):
                sop = uid(shape.name, "sop", number, index)
                content = template.replace(uid("template").encode(), sop.encode())
                (root / "data" / series / f"{sop}.dcm").write_bytes(content)
                bundle.writestr(f"1-{index + 1:03d}.dcm", content)
                rows.append((study, series, sop, len(content), hashlib.sha256(content).hexdigest()))
        records.append(_record(shape, number, study, series, len(template)))
        sops = [{"SOPInstanceUID": row[2]} for row in rows[-shape.per_series :]]
        (root / "json" / "getSOPInstanceUIDs" / f"{series}.json").write_text(json.dumps(sops))
        (root / "json" / "getSeries" / f"{series}.json").write_text(json.dumps(records[-1:]))
        size = [{"TotalSizeInBytes": len(template) * shape.per_series, "ObjectCount": shape.per_series}]
        (root / "json" / "getSeriesSize" / f"{series}.json").write_text(json.dumps(size))
    (root / "json" / "getSeries" / f"{shape.name}.json").write_text(json.dumps(records))
    (root / f"{shape.name}.json").write_text(json.dumps(rows))


def _record(shape: Shape, number: int, study: str, series: str, size_bytes: int) -> dict[str, object]:
    return {
        "SeriesInstanceUID": series,
        "StudyInstanceUID": study,
        "Collection": shape.name,
        "PatientID": f"P{number:03d}",
        "Modality": "CT",
        "SeriesNumber": number,
        "ImageCount": shape.per_series,
        "FileSize": size_bytes * shape.per_series,
    }


def template_of(shape: Shape, study: str, series: str, pixels: bytes) -> bytes:
    """An instance of a Series; `uid("template")` stands where its SOP Instance UID is."""
    one_frame = shape.frames == 1
    data_set = Dataset()
    data_set.SOPClassUID = CTImageStorage if one_frame else MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    data_set.SOPInstanceUID = uid("template")
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, series
    data_set.PatientID, data_set.Modality = "P", "CT"
    data_set.Rows = data_set.Columns = shape.side
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 16, 16, 15, 0
    if not one_frame:
        data_set.NumberOfFrames = shape.frames
    block = data_set.private_block(0x0029, "BENCH", create=True)
    for element in range(_PRIVATE_TEXTS):
        block.add_new(element, "LO", f"value {element}")
    data_set.add_new(0x7FE00010, "OW", pixels)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    data_set.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
