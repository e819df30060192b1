"""The attributes that searches know: their tags, what the catalogue has for them, and what answers always have.

An attribute that the standard requires and that the catalogue does not have is empty in answers, and matches no value.

Source: PS3.18 §10.6.1.2 and §10.6.3.3 (matching and result attributes), PS3.6 (tags).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from bulkdl.model.records import Patient, Series, Study
from bulkdl.server.catalogue import SeriesDetail
from bulkdl.server.catalogue.hierarchy import MODALITIES, FoundStudy
from bulkdl.server.dicomweb.json_elements import Element, element

DataSet: TypeAlias = dict[str, Element]

CHARACTER_SET: Final = "00080005"
RETRIEVE_URL: Final = "00081190"
UTF_8: Final = "ISO_IR 192"


class Level(IntEnum):
    """A level of the hierarchy."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """What is known of an instance; `availability` is a term of PS3.4 §C.4.23.1.1."""

    sop_uid: str
    instance_number: int | None = None
    sop_class_uid: str | None = None
    transfer_syntax_uid: str | None = None
    availability: str


class Facts(NamedTuple):
    """What an answer is made of."""

    patient: Patient
    study: Study
    found: FoundStudy | None = None
    detail: SeriesDetail | None = None
    instance: InstanceFacts | None = None

    @property
    def series(self) -> Series:
        """The Series, at its level and below."""
        assert self.detail is not None  # noqa: S101 - the level says so
        return self.detail.series


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAttribute:
    """One attribute. `of` gives its values, None if the catalogue has none; `criterion` is what a search compares.

    Answers have it if it `is_usual`, or if it is asked for.
    """

    tag: str
    keyword: str
    vr: str
    level: Level
    of: Callable[[Facts], Iterable[object]] | None = None
    criterion: str | None = None
    is_usual: bool = False


def _split(text: str | None) -> Iterable[str]:
    """The values of a text, which are joined by a backslash as in a file."""
    return text.split("\\") if text else ()


def _facts_of(facts: Facts) -> InstanceFacts:
    assert facts.instance is not None  # noqa: S101 - the level says so
    return facts.instance


def _found(facts: Facts, name: str) -> Iterable[object]:
    value = getattr(facts.found, name, None)
    return value if isinstance(value, tuple) else (value,)


def _attribute(level: Level, *, is_usual: bool) -> Callable[..., SearchAttribute]:
    def make(
        tag: str,
        keyword: str,
        vr: str,
        of: Callable[[Facts], Iterable[object]] | None = None,
        criterion: str | None = None,
    ) -> SearchAttribute:
        return SearchAttribute(
            tag=tag, keyword=keyword, vr=vr, level=level, of=of, criterion=criterion, is_usual=is_usual
        )

    return make


_study, _more_of_study = (_attribute(Level.STUDY, is_usual=usual) for usual in (True, False))
_series, _more_of_series = (_attribute(Level.SERIES, is_usual=usual) for usual in (True, False))
_instance, _more_of_instance = (_attribute(Level.INSTANCE, is_usual=usual) for usual in (True, False))

ATTRIBUTES: Final = (
    _study(CHARACTER_SET, "SpecificCharacterSet", "CS", lambda _facts: (UTF_8,)),
    _study(RETRIEVE_URL, "RetrieveURL", "UR", lambda _facts: ()),
    _study("00080020", "StudyDate", "DA", lambda f: (f.study.study_date,), "study_date"),
    _study("00080030", "StudyTime", "TM"),
    _study("00080050", "AccessionNumber", "SH"),
    _study("00080061", "ModalitiesInStudy", "CS", lambda f: _found(f, "modalities"), MODALITIES),
    _study("00080090", "ReferringPhysicianName", "PN"),
    _study("00100010", "PatientName", "PN", lambda f: (f.patient.name or f.study.patient_name,), "patient_name"),
    _study("00100020", "PatientID", "LO", lambda f: (f.patient.patient_id,), "patient_id"),
    _study("00100030", "PatientBirthDate", "DA", lambda f: (f.patient.birth_date,), "birth_date"),
    _study("00100040", "PatientSex", "CS", lambda f: (f.patient.sex,), "sex"),
    _study("0020000D", "StudyInstanceUID", "UI", lambda f: (f.study.study_uid,), "study_uid"),
    _study("00200010", "StudyID", "SH", lambda f: (f.study.study_id,), "study_id"),
    _study("00201206", "NumberOfStudyRelatedSeries", "IS", lambda f: _found(f, "series_count")),
    _study("00201208", "NumberOfStudyRelatedInstances", "IS", lambda f: _found(f, "instance_count")),
    _more_of_study("00081030", "StudyDescription", "LO", lambda f: _split(f.study.description), "study_description"),
    _more_of_study("00081080", "AdmittingDiagnosesDescription", "LO", lambda f: _split(f.study.admitting_diagnosis)),
    _more_of_study("00101010", "PatientAge", "AS", lambda f: (f.study.patient_age,)),
    _more_of_study("00102160", "EthnicGroup", "SH", lambda f: (f.patient.ethnic_group,)),
    _series("00080060", "Modality", "CS", lambda f: (f.series.modality,), "modality"),
    _series("0008103E", "SeriesDescription", "LO", lambda f: _split(f.series.description), "series_description"),
    _series("0020000E", "SeriesInstanceUID", "UI", lambda f: (f.series.series_uid,), "series_uid"),
    _series("00200011", "SeriesNumber", "IS", lambda f: (f.series.series_number,), "series_number"),
    _series("00201209", "NumberOfSeriesRelatedInstances", "IS", lambda f: (f.series.image_count,)),
    _series("00080021", "SeriesDate", "DA", lambda f: (f.series.series_date,), "series_date"),
    _more_of_series("00080070", "Manufacturer", "LO", lambda f: (f.series.manufacturer,), "manufacturer"),
    _more_of_series("00081090", "ManufacturerModelName", "LO", lambda f: (f.series.model,), "model"),
    _more_of_series("00180015", "BodyPartExamined", "CS", lambda f: (f.series.body_part,), "body_part"),
    _more_of_series("00181020", "SoftwareVersions", "LO", lambda f: _split(f.series.software_versions)),
    _more_of_series("00181030", "ProtocolName", "LO", lambda f: _split(f.series.protocol), "protocol"),
    _instance("00080016", "SOPClassUID", "UI", lambda f: (_facts_of(f).sop_class_uid,), "sop_class_uid"),
    _instance("00080018", "SOPInstanceUID", "UI", lambda f: (_facts_of(f).sop_uid,), "sop_uid"),
    _instance("00080056", "InstanceAvailability", "CS", lambda f: (_facts_of(f).availability,)),
    _instance("00200013", "InstanceNumber", "IS", lambda f: (_facts_of(f).instance_number,), "instance_number"),
    _more_of_instance("00083002", "AvailableTransferSyntaxUID", "UI", lambda f: (_facts_of(f).transfer_syntax_uid,)),
)
"""All attributes that searches know."""

BY_NAME: Final[Mapping[str, SearchAttribute]] = MappingProxyType(
    {name: one for one in ATTRIBUTES for name in (one.tag, one.keyword)}
)
"""The attributes by their tags, in upper case, and by their keywords."""

_NEVER_EMPTY: Final = frozenset({"00080061", "00201206", "00201208", "00201209"})  # left out where they are unknown


class DataSets:
    """Makes the answers at a level, with the `fields` (tags) beside what is usual; None is all. Tags are in order.

    Counts are there if they are known.
    """

    def __init__(self, level: Level, fields: frozenset[str] | None) -> None:
        self._chosen = sorted(
            (one for one in ATTRIBUTES if one.level <= level and (one.is_usual or fields is None or one.tag in fields)),
            key=lambda one: one.tag,
        )

    def of(self, facts: Facts, url: str) -> DataSet:
        """The answer of one result; `url` is where it is retrieved."""
        made: DataSet = {}
        for one in self._chosen:
            if one.tag == RETRIEVE_URL:
                made[one.tag] = element(one.vr, [url])
                continue
            found = element(one.vr, one.of(facts) if one.of is not None else ())
            if "Value" in found or (one.is_usual and one.tag not in _NEVER_EMPTY):
                made[one.tag] = found
        return made


def is_universal(value: str) -> bool:
    """Whether a value matches everything: it is empty, or asterisks alone (PS3.4 §C.2.2.2.3, §C.2.2.2.4)."""
    return not value.strip("* ")
