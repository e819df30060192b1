"""A data set is named by one word: its form, and then the archive, tell what it is, and the command says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ManifestError, SelectionError
from bulkdl.model.events import Event, Noted
from bulkdl.model.selection import Selection
from bulkdl.verbs.select import choose_selection
from tests.support.bad_archive import BadArchive
from tests.support.commands import RunningArchive, run
from tests.support.dicom_files import instances, write_folder
from tests.support.idc_index import series_row, write_index

MADE_UP = list(instances(series=2, per_series=2))
ONE = MADE_UP[0]


async def taken_for(word: str, archive: str, modality: str = "") -> tuple[int, str]:
    """How many Series a plan of this data set selects, and the note on what it is."""
    events: list[Event] = []
    report = await bulkdl.plan_async(word, archive=archive, sink=events.append, modality=modality or None)
    (note,) = [event.message for event in events if isinstance(event, Noted)]
    return report.series.selected, note


@pytest.mark.parametrize("word", ["BULKDL-PHANTOM", "bulkdl_phantom", "Bulkdl Phantom"])
async def test_a_collection_in_any_spelling(word: str, demo_archive: RunningArchive) -> None:
    selected, note = await taken_for(word, demo_archive.url)
    assert selected > 1
    assert note == f"{word!r} is the collection BULKDL-PHANTOM"


@pytest.mark.parametrize(
    "word",
    [
        "10.7937/K9/TCIA.2016.tNB1kqBU",
        "doi:10.7937/k9/tcia.2016.tnb1kqbu",
        "https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU",
        "https://www.cancerimagingarchive.net/collection/pancreas-ct/",
        "https://wiki.cancerimagingarchive.net/display/Public/Pancreas+CT",
    ],
)
async def test_the_collection_behind_a_doi_or_a_page(word: str, demo_archive: RunningArchive) -> None:
    assert await taken_for(word, demo_archive.url) == (1, f"{word!r} is the collection Pancreas-CT")


@pytest.mark.parametrize(
    "name",
    ["https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU", "https://www.cancerimagingarchive.net/collection/pancreas-ct/"],
)
async def test_the_option_for_collections_takes_addresses_too(name: str, demo_archive: RunningArchive) -> None:
    collections = [name, "PYDICOM-IMAGES"]
    report = await bulkdl.plan_async(collection=collections, archive=demo_archive.url)
    assert {each.collection for each in report.collections} == {"Pancreas-CT", "PYDICOM-IMAGES"}


async def test_a_uid_is_that_of_a_series_or_of_a_study_and_a_name_may_be_that_of_a_patient() -> None:
    async with BadArchive(MADE_UP) as archive:
        series = await taken_for(ONE.series_uid, archive.address)
        study = await taken_for(ONE.study_uid, archive.address)
        patient = await taken_for(ONE.patient_id, archive.address)
    assert series == (1, f"{ONE.series_uid!r} is the series {ONE.series_uid}")
    assert study == (2, f"{ONE.study_uid!r} is the study {ONE.study_uid}")
    assert patient == (2, f"{ONE.patient_id!r} is the patient {ONE.patient_id}")


async def test_the_collection_of_a_dicomweb_server_may_be_an_address(tmp_path: Path) -> None:
    write_folder(tmp_path / "source", iter(MADE_UP))
    async with bulkdl.serve_async(tmp_path / "source", cache=tmp_path / "cache") as served:
        url = f"dicomweb+{served.url.partition('/nbia-api')[0]}/dicom-web"
        assert await taken_for("127.0.0.1", url) == (2, "'127.0.0.1' is the collection 127.0.0.1")
        choice = bulkdl.reach(url, cache=tmp_path / "cache")
        listed = await bulkdl.ls_async("127.0.0.1", ONE.patient_id, archive=choice)
    assert [len(study.series) for study in listed.studies or ()] == [2]


async def test_options_narrow_a_data_set(demo_archive: RunningArchive) -> None:
    all_of_it, _ = await taken_for("BULKDL-PHANTOM", demo_archive.url)
    narrowed, _ = await taken_for("BULKDL-PHANTOM", demo_archive.url, modality="MR")
    assert 0 < narrowed < all_of_it


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["BULKDL-FANTOM"], "no collection and no patient called 'BULKDL-FANTOM'; did you mean BULKDL-PHANTOM?"),
        (["1.2.3"], r"no series and no study 1\.2\.3"),
        (["10.1234/none"], "no collection with the DOI 10.1234/none"),
        (["https://example.org/collection/pancreas-ct"], "not the address of a data set at TCIA"),
        (["http://[/x"], "is not an address"),
        (["BULKDL-PHANTOM", "PHANTOM-001"], r"a collection \(BULKDL-PHANTOM\) and a patient \(PHANTOM-001\) cannot"),
    ],
)
async def test_what_is_nothing_is_refused_by_name(words: list[str], problem: str, demo_archive: RunningArchive) -> None:
    with pytest.raises(SelectionError, match=problem):
        await bulkdl.plan_async(words, archive=demo_archive.url)


async def test_an_archive_that_knows_no_dois_says_so() -> None:
    async with BadArchive(MADE_UP) as archive:
        with pytest.raises(SelectionError, match="cannot be asked for a DOI"):
            await bulkdl.plan_async("10.7937/x", archive=archive.address)


def test_a_file_is_a_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "cohort"
    manifest.write_text(f"{ONE.series_uid}\n")
    assert choose_selection([manifest, "A"], {"modality": "CT"}) == Selection(
        series=(ONE.series_uid,), data_sets=("A",), modalities=("CT",)
    )
    with pytest.raises(ManifestError, match="No such file"):
        choose_selection(tmp_path / "other.tcia", {})


def test_the_command_mirrors_a_data_set_by_name(demo_archive: RunningArchive, cache: Path, tmp_path: Path) -> None:
    ended = run("mirror", "pancreas_ct", "--archive", demo_archive.url, "--to", tmp_path / "m", cache=cache)
    assert ended.code == 0, ended.err
    assert "'pancreas_ct' is the collection Pancreas-CT" in ended.err
    resumed = run("resume", tmp_path / "m", cache=cache)
    assert resumed.code == 0, resumed.err


async def test_an_analysis_result_of_the_index_is_selected_like_a_collection(tmp_path: Path) -> None:
    rows = [series_row(1), series_row(2, analysis_result_id="seg_all"), series_row(3, analysis_result_id="seg_all")]
    index = write_index(tmp_path / "index", rows)
    choice = bulkdl.reach("idc+http://127.0.0.1:9/", cache=tmp_path, idc_index=index)
    assert (await bulkdl.plan_async("Seg-All", archive=choice)).series.selected == 2
