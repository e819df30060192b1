"""Queries answer as NBIA's database would."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Series
from bulkdl.server.catalogue import Catalogue, Root
from tests.support.catalogue_files import one, put
from tests.support.dicom_files import instances, uid, write_folder


def test_sorts_collections_without_case(served: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("beta", "Alpha", "GAMMA")):
        put(served, f"{name}/x.dcm", one(SeriesInstanceUID=f"1.{number}"))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        assert catalogue.collections() == ["Alpha", "beta", "GAMMA"]


@pytest.mark.parametrize(
    ("criteria", "count"),
    [
        ({}, 6),
        ({"collection": "lUNG"}, 4),
        ({"collection": "straße"}, 2),
        ({"collection": ""}, 0),
        ({"patient_id": "patient-00000000"}, 4),
        ({"collection": "LUNG", "patient_id": "PATIENT-00000000"}, 2),
        ({"study_uid": uid("", "Lung", "study", 0)}, 2),
        ({"series_uid": uid("", "Lung", "series", 0)}, 1),
        ({"series_uid": uid("", "Lung", "series", 0), "modality": "MR"}, 0),
        ({"modality": "ct"}, 6),
        ({"body_part": "Chest"}, 6),
        ({"manufacturer": "example"}, 6),
        ({"model": "none"}, 0),
    ],
    ids=repr,
)
def test_all_criteria_must_be_met_and_case_is_ignored(
    catalogue: Catalogue, criteria: dict[str, Any], count: int
) -> None:
    assert len(list(catalogue.series(**criteria))) == count


def test_lists_patients_and_studies_once(catalogue: Catalogue) -> None:
    assert [p.patient_id for p in catalogue.patients(collection="lung")] == ["PATIENT-00000000", "PATIENT-00000001"]
    (study,) = catalogue.studies(collection="Lung", patient_id="patient-00000001")
    assert (study.study_uid, study.series_count) == (uid("", "Lung", "study", 1), 2)
    assert (study.study_date, study.patient_name) == (date(2020, 1, 2), "PATIENT^00000000")


def test_a_series_has_counts_and_the_time_of_its_newest_file(served: Path, tmp_path: Path) -> None:
    made = write_folder(served, instances(series=1, per_series=3))
    moment = datetime(2021, 6, 2, 10, 11, 12, tzinfo=UTC)
    for number, instance in enumerate(made):
        os.utime(served / instance.path, (moment.timestamp() - number,) * 2)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (series,) = catalogue.series()
    assert series == Series(
        series_uid=SeriesUid(made[0].series_uid),
        study_uid=StudyUid(made[0].study_uid),
        patient_id="PATIENT-00000000",
        collection="MADE-UP",
        modality="CT",
        image_count=3,
        size_bytes=sum(len(instance.content) for instance in made),
        body_part="CHEST",
        manufacturer="EXAMPLE",
        series_number=1,
        series_date=date(2020, 1, 2),
        annotations=False,
        submitted=moment.replace(tzinfo=None),
        study_date=date(2020, 1, 2),
    )


def test_every_attribute_of_a_file_reaches_its_record(served: Path, tmp_path: Path) -> None:
    content = one(
        PatientBirthDate="19500102",
        PatientSex="F",
        EthnicGroup="e",
        PatientSpeciesDescription="Canis lupus familiaris",
        StudyDescription="s",
        StudyID="2",
        AdmittingDiagnosesDescription="a",
        PatientAge="061Y",
        LongitudinalTemporalOffsetFromEvent=203.5,
        LongitudinalTemporalEventType="DIAGNOSIS",
        ProtocolName="p",
        SeriesDescription="d",
        ManufacturerModelName="m",
        SoftwareVersions=["1", "2"],
    )
    put(served, "x.dcm", content)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (patient,), (study,), (series,) = catalogue.patients(), catalogue.studies(), catalogue.series()
    assert (patient.birth_date, patient.sex, patient.ethnic_group) == (date(1950, 1, 2), "F", "e")
    assert (patient.species_description, patient.species_code) == ("Canis lupus familiaris", None)
    assert (study.description, study.study_id, study.admitting_diagnosis) == ("s", "2", "a")
    assert (study.patient_age, study.patient_birth_date, study.patient_sex) == ("061Y", date(1950, 1, 2), "F")
    assert (study.longitudinal_offset_days, study.longitudinal_event_type) == (203.5, "DIAGNOSIS")
    assert (series.protocol, series.description, series.model) == ("p", "d", "m")
    assert (series.software_versions, series.study_description) == ("1\\2", "s")


def test_lengths_of_a_file_reach_its_detail(served: Path, tmp_path: Path) -> None:
    put(served, "x.dcm", one(SliceThickness="2.5", PixelSpacing=["0.75", "0.5"]))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (detail,) = catalogue.details()
    assert (detail.slice_thickness_mm, detail.pixel_spacing_mm) == (2.5, 0.75)


def test_results_of_many_pages_are_complete(served: Path, tmp_path: Path) -> None:
    wanted = set()
    for number in range(1203):
        path = put(served, f"{number}.dcm", one_quick(number))
        wanted.add(path.stem)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        found = [series.series_uid for series in catalogue.series(collection="served")]
        assert len(found) == len(set(found)) == 1203
        assert len(list(catalogue.patients())) == 1
        assert len(list(catalogue.studies())) == 1


def one_quick(number: int) -> bytes:
    """An instance in a new Series of the same Patient and Study."""
    series_uid = uid("", "MADE-UP", "series", 0)
    template = next(instances(series=1, per_series=1)).content
    return template.replace(series_uid.encode(), uid(number).encode())


def test_sorts_files_by_instance_number(served: Path, tmp_path: Path) -> None:
    for name, number in (("a", 10), ("b", 9), ("c", None), ("d", 1)):
        put(served, f"{name}.dcm", one(SOPInstanceUID=f"1.{ord(name)}", InstanceNumber=number))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (series,) = catalogue.series()
        assert [file.path.stem for file in catalogue.files(series.series_uid)] == ["c", "d", "b", "a"]


def test_an_unknown_series_has_no_files(catalogue: Catalogue) -> None:
    assert catalogue.files("1.2.3") == ()
    assert catalogue.find_instance("1.2.3") is None
