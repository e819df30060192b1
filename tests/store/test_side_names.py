from __future__ import annotations

import pytest

from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Series
from bulkdl.store.layout import parse_layout
from bulkdl.store.side_names import folder_of_collection, is_side_file


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.csv", True),
        ("README.txt", True),
        ("TCGA-GBM/LICENSE", True),
        ("TCGA-GBM/CITATION.bib", True),
        ("_collections/a~12345678/LICENSE", True),
        ("LICENSE", False),
        ("TCGA-GBM/metadata.csv", False),
        ("TCGA-GBM/P1/LICENSE", False),
        ("TCGA-GBM/LICENSE.txt", False),
        ("metadata.csv/1.dcm", False),
    ],
)
def test_knows_the_texts_by_their_places(path: str, expected: bool) -> None:  # noqa: FBT001
    assert is_side_file(path) is expected


@pytest.mark.parametrize("layout", ["bulkdl", "nbia-classic", "idc", "descriptive"])
@pytest.mark.parametrize("name", ["LICENSE", "license", "CITATION.bib", "metadata.csv", "README.TXT", "_collections"])
def test_no_folder_of_images_has_the_name_of_a_text(layout: str, name: str) -> None:
    series = Series(
        series_uid=SeriesUid("1.2.3"), study_uid=StudyUid("1.2"), patient_id=name, collection=name, modality="CT"
    )
    collection, patient, *_ = parse_layout(layout).folder(series).split("/")
    assert collection.startswith(f"{name}~".lower() if layout == "idc" else f"{name}~")
    assert patient.startswith(f"{name}~")


def test_a_collection_without_a_folder_gets_one_for_its_texts() -> None:
    assert folder_of_collection("A", "B") == "B"
    assert folder_of_collection("A/B", None).startswith("_collections/A_B~")


@pytest.mark.parametrize(
    ("layout", "expected"),
    [("bulkdl", True), ("nbia-descriptive", True), ("flat", False), ("{patient}/{collection}/{series}", False)],
)
def test_knows_whether_a_layout_has_folders_of_collections(layout: str, expected: bool) -> None:  # noqa: FBT001
    assert parse_layout(layout).begins_with_collection is expected
