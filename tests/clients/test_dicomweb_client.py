"""The public Python client dicomweb-client 0.61.2, unmodified, against `bulkdl serve --demo` and a cache of it.

It runs in a separate environment (`make test-clients`), which has pydicom.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.uid import generate_uid
from requests import HTTPError

JPEG, PNG = b"\xff\xd8", b"\x89PNG"


@pytest.fixture
def client(archive: str) -> DICOMwebClient:
    return DICOMwebClient(url=f"{archive.removesuffix('/nbia-api/services')}/dicom-web")


def first(found: list[dict[str, dict[str, Any]]], tag: str) -> Any:
    return found[0][tag]["Value"][0]


@pytest.fixture
def place(client: DICOMwebClient) -> tuple[str, str, int]:
    """A CT of few images: its Study, its UID, and how many images it has."""
    series = [
        (one["00201209"]["Value"][0], one["0020000D"]["Value"][0], one["0020000E"]["Value"][0])
        for one in client.search_for_series(search_filters={"Modality": "CT"})
    ]
    count, study_uid, series_uid = min(series)
    return study_uid, series_uid, count


def test_searches_find_what_the_archive_has(client: DICOMwebClient) -> None:
    every = client.search_for_studies()
    assert len(every) > 3
    pages = client.search_for_studies(limit=2, get_remaining=True)
    assert [one["0020000D"] for one in pages] == [one["0020000D"] for one in every]
    patient = first(every, "00100020")
    found = client.search_for_studies(search_filters={"PatientID": patient}, fields=["StudyDescription", "00100040"])
    assert found
    assert {one["00100020"]["Value"][0] for one in found} == {patient}
    assert client.search_for_studies(fuzzymatching=True, limit=1)
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []


def test_levels_agree(client: DICOMwebClient) -> None:
    for study in client.search_for_studies(limit=3):
        uid = study["0020000D"]["Value"][0]
        series = client.search_for_series(uid)
        assert len(series) == study["00201206"]["Value"][0]
        assert sum(one["00201209"]["Value"][0] for one in series) == study["00201208"]["Value"][0]
        modalities = {value for one in series for value in one["00080060"].get("Value", [])}
        assert modalities == set(study.get("00080061", {}).get("Value", []))


def test_a_series_and_its_study_are_retrieved(client: DICOMwebClient, place: tuple[str, str, int]) -> None:
    study_uid, series_uid, count = place
    instances = client.search_for_instances(study_uid, series_uid)
    sop_uids = {one["00080018"]["Value"][0] for one in instances}
    assert len(sop_uids) == count
    series = client.retrieve_series(study_uid, series_uid)
    assert {one.SOPInstanceUID for one in series} == sop_uids
    assert {one.SOPInstanceUID for one in client.iter_series(study_uid, series_uid)} == sop_uids
    of_study = {one.SOPInstanceUID for one in client.iter_study(study_uid)}
    assert sop_uids <= of_study
    assert {one.SOPInstanceUID for one in client.retrieve_study(study_uid)} == of_study
    one = client.retrieve_instance(study_uid, series_uid, min(sop_uids))
    assert one.SOPInstanceUID == min(sop_uids)


def test_metadata_makes_data_sets(client: DICOMwebClient, place: tuple[str, str, int]) -> None:
    study_uid, series_uid, count = place
    metadata = client.retrieve_series_metadata(study_uid, series_uid)
    assert len(metadata) == count
    assert len(client.retrieve_study_metadata(study_uid)) >= count
    data_set = pydicom.Dataset.from_json(metadata[0], bulk_data_uri_handler=lambda *_: None)
    whole = client.retrieve_instance(study_uid, series_uid, data_set.SOPInstanceUID)
    for keyword in ("Rows", "Columns", "PatientID", "PatientName", "PixelSpacing", "ImagePositionPatient"):
        assert data_set[keyword].value == whole[keyword].value
    again = client.retrieve_instance_metadata(study_uid, series_uid, data_set.SOPInstanceUID)
    assert again == next(one for one in metadata if one["00080018"] == again["00080018"])


def test_frames_and_bulk_data_are_the_pixels(client: DICOMwebClient, place: tuple[str, str, int]) -> None:
    study_uid, series_uid, _ = place
    metadata = client.retrieve_series_metadata(study_uid, series_uid)[0]
    sop_uid = metadata["00080018"]["Value"][0]
    whole = client.retrieve_instance(study_uid, series_uid, sop_uid)
    (frame,) = client.retrieve_instance_frames(study_uid, series_uid, sop_uid, [1])
    is_encapsulated = whole.file_meta.TransferSyntaxUID.is_encapsulated
    assert frame == (next(generate_frames(whole.PixelData, number_of_frames=1)) if is_encapsulated else whole.PixelData)
    assert list(client.iter_instance_frames(study_uid, series_uid, sop_uid, [1])) == [frame]
    assert client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"]) == [frame]
    assert list(client.iter_bulkdata(metadata["7FE00010"]["BulkDataURI"])) == [frame]


def test_pictures_are_made(client: DICOMwebClient, place: tuple[str, str, int]) -> None:
    study_uid, series_uid, _ = place
    sop_uid = first(client.search_for_instances(study_uid, series_uid), "00080018")
    assert client.retrieve_instance_rendered(study_uid, series_uid, sop_uid).startswith(JPEG)
    assert client.retrieve_instance_rendered(study_uid, series_uid, sop_uid, media_types=("image/png",)).startswith(PNG)
    assert client.retrieve_series_rendered(study_uid, series_uid).startswith(JPEG)
    picture = client.retrieve_instance_frames_rendered(study_uid, series_uid, sop_uid, [1], media_types=("image/png",))
    assert picture.startswith(PNG)


@pytest.mark.parametrize("count", [1, 40], ids=["one, with a length", "many, in chunks"])
def test_what_it_stores_is_held_and_found(receiving: str, count: int) -> None:
    """It sends requests of more than a megabyte in chunks."""
    client = DICOMwebClient(url=f"{receiving.removesuffix('/nbia-api/services')}/dicom-web")
    image = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    images = []
    for _ in range(count):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        images.append(deepcopy(image))
    sent = {one.SOPInstanceUID for one in images}
    for study_uid in (None, image.StudyInstanceUID):  # the second time, the same bytes are there already
        answer = client.store_instances(images, study_instance_uid=study_uid)
        assert {one.ReferencedSOPInstanceUID for one in answer.ReferencedSOPSequence} == sent
        assert "FailedSOPSequence" not in answer
    found: set[str] = set()
    while found != sent:
        found = {one["00080018"]["Value"][0] for one in client.search_for_instances()}
    images[0].PatientName = "Another"
    with pytest.raises(HTTPError, match="409"):
        client.store_instances(images[:1])
