"""`ls` lists data sets, the patients of one, and the series of a patient, of every form of archive."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import RequestFailed, SelectionError
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Event, Noted
from bulkdl.model.reports.ls import LsReport
from tests.support.bad_archive import BadArchive, endpoint_of
from tests.support.commands import RunningArchive
from tests.support.dicom_files import instances
from tests.support.faults import answer
from tests.support.idc_index import series_row, write_index
from tests.support.made_up_services import collection, made_up_services

NOWHERE = "http://127.0.0.1:9/"
ROWS = [
    series_row(1, StudyDate="2020-01-02", StudyDescription="CHEST", SeriesDescription="axial", SeriesNumber="7"),
    series_row(2, PatientID="P2", StudyInstanceUID="1.2.4", Modality="MR"),
    series_row(3, analysis_result_id="seg_all", Modality="SEG", source_DOI="10.5281/zenodo.1"),
    series_row(4, collection_id="brain_two", PatientID="P1"),
]
LINK = "https://faspex.example.org/aspera/faspex/public/package?context=abc"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("index"), ROWS, names={"lung_one": "Lung-One", "brain_two": "Brain-Two"})


def idc(index: Path, cache: Path, profiles: dict[str, str] | None = None) -> ArchiveChoice:
    return bulkdl.reach(f"idc+{NOWHERE}", cache=cache, idc_index=index, profiles=profiles or {})


async def test_all_data_sets_are_listed(index: Path, tmp_path: Path) -> None:
    report = await bulkdl.ls_async(archive=idc(index, tmp_path))
    assert [(each.name, each.kind.value, each.series) for each in report.data_sets] == [
        ("Brain-Two", "collection", 1),
        ("Lung-One", "collection", 3),
        ("seg_all", "analysis-result", 1),
    ]
    document = report.as_json()
    assert [each["name"] for each in document["collections"]] == ["Brain-Two", "Lung-One"]
    assert (document["analysis_results"][0]["collections"], document["patients"]) == (["Lung-One"], None)
    assert document["sources"][0]["release"].startswith("IDC release 25")
    assert report.as_text().splitlines()[-1].startswith("2 collections, 1 analysis result; IDC release 25")


@pytest.mark.parametrize(
    ("word", "patients"),
    [
        ("Lung-One", ["P1", "P2"]),
        ("lung one", ["P1", "P2"]),
        ("https://www.cancerimagingarchive.net/collection/lung-one/", ["P1", "P2"]),
        ("doi:10.7937/k9/TCIA.2099.one", ["P1"]),
        ("seg_all", ["P1"]),
        ("10.5281/ZENODO.1", ["P1"]),
    ],
)
async def test_of_a_data_set_in_any_spelling_its_patients_are_listed(
    index: Path, tmp_path: Path, word: str, patients: list[str]
) -> None:
    report = await bulkdl.ls_async(word, archive=idc(index, tmp_path))
    assert report.patients is not None
    assert {each.patient_id for each in report.patients} == {*patients}


async def test_of_a_patient_the_studies_and_series_are_listed(index: Path, tmp_path: Path) -> None:
    for words in (("Lung-One", "P1"), ("1.2.3",), ("1.2.3.1",)):
        report = await bulkdl.ls_async(*words, archive=idc(index, tmp_path))
        assert report.studies
        study = next(each for each in report.studies if each.collection == "Lung-One")
        assert (study.study_uid, study.date, study.description) == ("1.2.3", "2020-01-02", "CHEST")
        assert study.series[-1].series_uid == "1.2.3.1"
    both = await bulkdl.ls_async("P1", archive=idc(index, tmp_path))
    assert both.studies is not None
    assert [each.collection for each in both.studies] == ["Brain-Two", "Lung-One"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Lung-Ome",), "no collection and no patient called 'Lung-Ome'; did you mean Lung-One"),
        (("Lung-One", "P9"), "the collection Lung-One has no patient 'P9'"),
        (("Nothing", "P1"), "no collection called 'Nothing'"),
        (("10.7937/none",), "no collection with the DOI"),
        (("1.2.3.99",), "no series and no study"),
        (("https://example.org/lung",), "not the address of a data set"),
        ((__file__,), "is on this machine: bulkdl status"),
    ],
)
async def test_what_is_not_there_is_one_clear_error(
    index: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SelectionError, match=said):
        await bulkdl.ls_async(*words, archive=idc(index, tmp_path))


async def test_a_text_narrows_what_is_listed(index: Path, tmp_path: Path) -> None:
    choice = idc(index, tmp_path)
    assert [each.name for each in (await bulkdl.ls_async(search="LUNG mr", archive=choice)).data_sets] == ["Lung-One"]
    patients = (await bulkdl.ls_async("Lung-One", search="mr", archive=choice)).patients
    assert [each.patient_id for each in patients or ()] == ["P2"]
    studies = (await bulkdl.ls_async("Lung-One", "P1", search="chest axial", archive=choice)).studies
    assert [each.series_uid for study in studies or () for each in study.series] == ["1.2.3.1"]
    nothing = await bulkdl.ls_async(search="liver", archive=choice)
    assert (nothing.data_sets, nothing.complaint()) == ((), "nothing is found with 'liver'")


async def test_what_is_only_elsewhere_is_said_with_its_links(index: Path, tmp_path: Path) -> None:
    files = [
        {"download_title": "Images", "download_url": "https://a.example.org/x.tcia", "license": "CC BY 4.0"},
        {"download_title": "NIfTI", "download_url": LINK, "download_size": "2", "download_size_unit": "TB"},
        {"download_title": "Faces", "data_license": "NIH Controlled Data Access", "download_url": "https://a.b/GC.csv"},
    ]
    known = [collection("Lung-One", collection_downloads=files), collection("WSI", collection_downloads=files[1:2])]
    async with made_up_services(collections=known) as services:
        choice = idc(index, tmp_path, services.profiles)
        lung, slides = [await bulkdl.ls_async(name, archive=choice) for name in ("Lung-One", "wsi")]
    text = lung.as_text()
    assert "Downloaded by bulkdl: bulkdl mirror Lung-One --archive" in text
    assert "- NIfTI: an Aspera package: IBM Aspera Connect or ascli downloads it, about 2.0 TB" in text
    assert f"  {LINK}\n" in text
    assert "- Faces: controlled access: apply for it first" in text
    assert "Images" not in text
    assert (slides.patients, slides.data_sets[0].in_archive) == ((), False)
    assert "Downloaded by bulkdl" not in slides.as_text()
    assert LINK in slides.as_text()


async def test_an_archive_without_an_index_is_listed_by_its_series(tmp_path: Path) -> None:
    made = list(instances(series=2, per_series=3, collection="LUNG"))
    async with BadArchive(made) as archive:
        choice = bulkdl.reach(archive.address, cache=tmp_path)
        report = await bulkdl.ls_async("lung", archive=choice)
        one = await bulkdl.ls_async("lung", made[0].patient_id, archive=choice)
    (patient,) = report.patients or ()
    assert (patient.patient_id, patient.series, patient.instances) == (made[0].patient_id, 2, 6)
    assert [len(study.series) for study in one.studies or ()] == [2]


async def test_an_error_of_the_archive_is_not_an_empty_list(tmp_path: Path) -> None:
    made = list(instances(series=1, per_series=1, collection="LUNG"))
    async with BadArchive(
        made, lambda seen: answer(b"no", status=500) if endpoint_of(seen) == "getSeries" else None
    ) as archive:
        with pytest.raises(RequestFailed):
            await bulkdl.ls_async("LUNG", archive=bulkdl.reach(archive.address, cache=tmp_path))


async def test_of_a_routed_archive_the_index_answers_and_says_what_it_may_lack(index: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    async with BadArchive(list(instances(series=1, per_series=1, collection="LUNG-ONE"))) as archive:
        profiles = {"idc": f"idc+{NOWHERE}", "nbia": archive.address}
        choice = bulkdl.reach("tcia", profiles=profiles, idc_index=index, cache=tmp_path)
        report = await bulkdl.ls_async("Lung-One", archive=choice, sink=events.append)
    assert [each.patient_id for each in report.patients or ()] == ["P1", "P2"]
    assert any(isinstance(event, Noted) and "NBIA may have more series" in event.message for event in events)


def test_the_demonstration_archive_is_listed_with_its_dois(demo_archive: RunningArchive, tmp_path: Path) -> None:
    origin = demo_archive.url.partition("/nbia-api")[0]
    profiles = {"datacite": f"{origin}/", "collection-manager": f"{origin}/api/"}
    report = bulkdl.ls(archive=bulkdl.reach(demo_archive.url, cache=tmp_path, profiles=profiles))
    phantom = next(each for each in report.data_sets if each.name == "BULKDL-PHANTOM")
    assert (phantom.patients, phantom.modalities) == (3, ("CT", "MR", "PT", "RTSTRUCT", "SEG"))
    assert phantom.doi == "10.5072/bulkdl.demo.bulkdl-phantom"
    assert phantom.sources == ("nbia", "collection-manager", "datacite")
    assert phantom.downloads


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [20, 40, 80, 100, 200])
async def test_tables_fit_the_terminal_and_no_doi_is_cut(index: Path, tmp_path: Path, width: int) -> None:
    choice = idc(index, tmp_path)
    text = (await bulkdl.ls_async(archive=choice)).as_text(width)
    table = text.partition("\n\n")[0]
    assert all(len(line) <= max(width, 30) for line in table.splitlines())
    assert ("DOI" in table) == ("10.7937/k9/tcia.2099.one" in table)
    for words in (("Lung-One",), ("Lung-One", "P1")):
        lines = (await bulkdl.ls_async(*words, archive=choice)).as_text(width).splitlines()
        assert all(len(line) <= max(width, 60) for line in lines if line.startswith(("patient ", "P1 ", "1.2.3")))


def test_names_from_outside_cannot_move_the_cursor() -> None:
    from bulkdl.model.data_sets import DataSet  # noqa: PLC0415 - for this test alone

    one = DataSet(name="a\x1b[31m\nb", title="t\r\n", in_archive=True, description="\x07x")
    for patients in (None, ()):
        text = LsReport(archive="x", data_sets=(one,), patients=patients).as_text()
        assert "\x1b" not in text
        assert "\x07" not in text
