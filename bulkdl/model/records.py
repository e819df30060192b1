"""Records of what an archive has: patients, studies, series, entries. One set of names and types for every archive."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, Self

from bulkdl.model.drs_objects import is_drs_location
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid


class SeriesKind(StrEnum):
    """What the files of a Series are that are not DICOM instances; bulkdl gives such a Series its UIDs."""

    SLIDE = "slide"  # one whole-slide image
    FILES = "files"  # supporting data of a Collection: zips, tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A Patient of a Collection. Absent values are None."""

    patient_id: str
    collection: str = ""
    name: str | None = None
    birth_date: date | None = None
    sex: str | None = None
    ethnic_group: str | None = None
    phantom: bool | None = None
    species_code: str | None = None
    species_description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A Study of a Patient. `series_count` is the archive's own count."""

    study_uid: StudyUid
    patient_id: str = ""
    collection: str = ""
    study_date: date | None = None
    description: str | None = None
    study_id: str | None = None
    admitting_diagnosis: str | None = None
    patient_age: str | None = None
    patient_name: str | None = None
    patient_birth_date: date | None = None
    patient_sex: str | None = None
    ethnic_group: str | None = None
    series_count: int | None = None
    longitudinal_event_type: str | None = None
    longitudinal_offset_days: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A Series. `image_count` and `size_bytes` are the archive's own, and may be missing or outdated.

    `location` is where its instances are at an archive that does not find them by the UID: for IDC
    `<bucket>/<series uuid>`, with the bucket's name in AWS, and then `/` and the names of objects with `,` between them
    if only these are meant; for PathDB the path of the slide. `remark` is there if
    the Series is not in the present state of the archive: since when it is withdrawn. `kind` is None for DICOM.
    """

    series_uid: SeriesUid
    study_uid: StudyUid | None = None
    patient_id: str = ""
    collection: str = ""
    modality: str | None = None
    image_count: int | None = None
    size_bytes: int | None = None
    body_part: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    software_versions: str | None = None
    protocol: str | None = None
    description: str | None = None
    series_number: int | None = None
    series_date: date | None = None
    annotations: bool | None = None
    submitted: datetime | None = None
    released: date | None = None
    license_name: str | None = None
    license_uri: str | None = None
    collection_uri: str | None = None
    study_description: str | None = None
    study_date: date | None = None
    study_id: str | None = None
    third_party: bool | None = None
    site: str | None = None
    location: str | None = None
    remark: str | None = None
    kind: SeriesKind | None = None

    @property
    def is_of_idc(self) -> bool:
        """Whether its location is one in the buckets of the IDC."""
        return self.location is not None and self.kind is None and not is_drs_location(self.location)


class NamedSlide(NamedTuple):
    """A slide as a manifest names it: its address, and where it belongs; what the manifest leaves out is empty."""

    address: str
    collection: str = ""
    patient_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class SeriesSize:
    """The bytes and the number of instances of one Series, None where the archive does not give them."""

    size_bytes: int | None = None
    image_count: int | None = None


@dataclass(frozen=True, slots=True)
class InstanceKey:
    """One SOP Instance, identified by its Series and its own UID."""

    series_uid: SeriesUid
    sop_uid: SopInstanceUid


@dataclass(frozen=True, slots=True)
class Entry:
    """What an archive holds for one instance.

    `key` is what the archive's `open` needs: for NBIA the SOP Instance UID, for IDC
    `<bucket>/<series uuid>/<instance uuid>.dcm`, for PathDB the path of the slide, for a data commons the identifier of
    an object. What is packed in an object with others ends in `#` and its position in that. `sop_uid`, `size_bytes` and
    `md5` (16 bytes) are None where the listing does not give them. `name` is that of a file that is not DICOM.
    """

    key: str
    sop_uid: SopInstanceUid | None = None
    size_bytes: int | None = None
    md5: bytes | None = None
    name: str | None = None

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        # A worker process gets its work in this form: it takes a third of the time of the usual one.
        return type(self), (self.key, self.sop_uid, self.size_bytes, self.md5, self.name)

    @property
    def package(self) -> str | None:
        """The key of the object that this is packed in; None if it is an object by itself."""
        key, mark, position = self.key.rpartition("#")
        return key if mark and position.isdecimal() else None

    @property
    def position(self) -> int | None:
        """Its position in the `package`, counted from 1."""
        return int(self.key.rpartition("#")[2]) if self.package is not None else None


@dataclass(frozen=True, slots=True)
class References:
    """What an annotation refers to: Series, and single `instances` whose Series it does not name.

    `own` are the SOP Instance UIDs of the instances that say so, as far as they were read.
    """

    series: frozenset[SeriesUid] = frozenset()
    instances: frozenset[SopInstanceUid] = frozenset()
    own: frozenset[SopInstanceUid] = frozenset()

    def __or__(self, other: "References") -> "References":
        return References(self.series | other.series, self.instances | other.instances, self.own | other.own)
