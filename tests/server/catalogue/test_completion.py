"""What the header of a held file adds to what an archive says of its Series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bulkdl.model.descriptions import CollectionDescription, Descriptions
from bulkdl.model.records import Patient, Series, Study
from bulkdl.server.catalogue import Catalogue
from bulkdl.server.catalogue.holdings import HeldFile, Holdings
from tests.support.dicom_samples import encoded, image

UID, STUDY = "1.2.3.1", "1.2.3.2"


def held(root: Path) -> HeldFile:
    content = encoded(
        image(
            PatientSex="F", PatientBirthDate="19500102", PatientName="Anonymous", StudyID="77", ProtocolName="Thorax",
            Manufacturer="of the file", SliceThickness="2.5", SeriesNumber="9",
        )
    )  # fmt: skip
    (root / "S").mkdir(parents=True, exist_ok=True)
    path = root / "S/one.dcm"
    path.write_bytes(content)
    return HeldFile("1.2.3.3", "one.dcm", len(content), path.stat().st_mtime_ns, None)


def described(root: Path, catalogue: Catalogue) -> Holdings:
    record = Series(series_uid=UID, study_uid=STUDY, patient_id="P1", collection="LUNG", manufacturer="of the archive")  # type: ignore[arg-type]
    others = [replace(record, series_uid=f"1.2.{number}") for number in range(3)]  # type: ignore[arg-type]
    holdings = Holdings(catalogue, root)
    with holdings.loading({}) as arrangement:
        arrangement.add_records(
            [record, *others],
            Descriptions(
                patients=(Patient(collection="LUNG", patient_id="P1", sex="M"),),
                studies=(Study(study_uid=STUDY, collection="LUNG", patient_id="P1", patient_age="042Y"),),  # type: ignore[arg-type]
            ),
        )
    return holdings


@pytest.mark.parametrize("is_loaded_again", [False, True])
def test_absent_values_are_those_of_the_file(tmp_path: Path, *, is_loaded_again: bool) -> None:
    with Catalogue.open(tmp_path / "c.sqlite") as catalogue:
        described(tmp_path, catalogue).enter(UID, "S", [held(tmp_path)])
        if is_loaded_again:
            described(tmp_path, catalogue)
        (detail,) = catalogue.details(series_uid=UID)
        assert detail.study is not None
        assert (detail.patient.sex, detail.patient.name) == ("M", "Anonymous")
        assert (detail.study.patient_age, detail.study.study_id) == ("042Y", "77")
        assert (detail.series.manufacturer, detail.series.protocol) == ("of the archive", "Thorax")
        assert (detail.series.series_number, detail.slice_thickness_mm) == (9, 2.5)
        assert [each.protocol for each in catalogue.series(study_uid=STUDY) if each.series_uid != UID] == [None] * 3
        assert catalogue.values_and_patients("manufacturer") == [("of the archive", 1)]
        assert sum(row[0] for row in catalogue.select("SELECT series FROM tally", ())) == 4
        alike = catalogue.select("SELECT series FROM alike JOIN kind ON number = kind ORDER BY series", ())
        assert [count for (count,) in alike] == [1, 3]


def test_a_file_that_cannot_be_read_adds_nothing(tmp_path: Path) -> None:
    with Catalogue.open(tmp_path / "c.sqlite") as catalogue:
        holdings = described(tmp_path, catalogue)
        before = list(catalogue.details())
        holdings.enter(UID, "S", [HeldFile("1.2.3.3", "missing.dcm", 5, 5, None)])
        assert list(catalogue.details()) == before


def test_the_collections_have_what_the_archive_says(tmp_path: Path) -> None:
    with Catalogue.open(tmp_path / "c.sqlite") as catalogue:
        holdings = described(tmp_path, catalogue)
        stamp = catalogue.stamp()
        holdings.describe(
            [CollectionDescription(collection="Lung", citation="A. Author", uri="https://doi.org/10.1/x")]
        )
        about = catalogue.about("LUNG")
        assert (about.citation, about.collection_uri) == ("A. Author", "https://doi.org/10.1/x")
        assert catalogue.stamp() != stamp
