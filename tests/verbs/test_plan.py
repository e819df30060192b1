"""`plan` adds up what the archive says, less what the mirror holds, and downloads nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import bulkdl
from bulkdl.errors import DiskError, SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.journal.moves import SeriesMove
from bulkdl.manifest import read_manifest
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.selection import Selection
from bulkdl.store.files import MirrorFiles
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of
from tests.support.bucket_server import write_index_of
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, answer
from tests.support.idc_index import prior_row, series_row, write_index
from tests.support.mirrors import checksums_on_disk

MADE_UP = list(instances(series=2, per_series=3))
SERIES = tuple(dict.fromkeys(one.series_uid for one in MADE_UP))
SIZE = sum(len(one.content) for one in MADE_UP)


async def test_says_what_a_new_mirror_needs(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.plan_async(series=SERIES, to=tmp_path / "m", archive=archive.address, settings=QUICK)
        assert archive.object_requests() == 0
    assert (report.series.selected, report.instances_selected, report.bytes_selected) == (2, 6, SIZE)
    assert (report.instances_held, report.exact, report.series_uids) == (0, True, SERIES)
    assert not (tmp_path / "m").exists()


async def test_counts_what_the_mirror_holds_already(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        report = await bulkdl.plan_async(series=SERIES, to=tmp_path / "mirror", archive=archive.address)
    assert (report.instances_held, report.bytes_held, report.series.complete) == (6, SIZE, 2)


async def test_counts_no_file_that_is_missing_or_truncated_as_held(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        mirror = tmp_path / "mirror"
        gone, cut, *_ = sorted(mirror.rglob("*.dcm"))
        lost = gone.stat().st_size + cut.stat().st_size
        gone.unlink()
        cut.write_bytes(cut.read_bytes()[:-1])
        before = checksums_on_disk(mirror)
        report = await bulkdl.plan_async(series=SERIES, to=mirror, archive=archive.choice(tmp_path))
        assert checksums_on_disk(mirror) == before
        resumed = await archive.resume(tmp_path)
    assert (report.instances_held, report.bytes_held, report.series.complete) == (4, SIZE - lost, 1)
    assert report.as_json()["instances"]["owed"] == resumed.instances.fetched == 2


async def test_counts_as_held_only_what_is_selected_and_what_the_archive_counts(tmp_path: Path) -> None:
    first, second = ([one for one in MADE_UP if one.series_uid == uid] for uid in SERIES)
    one = Selection(series=(SERIES[0],), instances=((SERIES[0], (first[0].sop_uid, first[1].sop_uid)),))
    async with BadArchive(MADE_UP) as archive:
        choice = archive.choice(tmp_path)
        await bulkdl.mirror_async(series=SERIES[:1], to=tmp_path / "m", archive=choice, settings=QUICK)
        part = await bulkdl.plan_async(one, to=tmp_path / "m", archive=choice)
        (tmp_path / "m").joinpath(next((tmp_path / "m").rglob(f"{first[0].sop_uid}.dcm"))).unlink()
        lost = await bulkdl.plan_async(one, to=tmp_path / "m", archive=choice)
        archive.made_up = [first[1], *second]
        fewer = await bulkdl.plan_async(series=SERIES, to=tmp_path / "m", archive=choice)
    assert (part.instances_selected, part.instances_held, part.series.complete) == (2, 2, 1)
    assert (lost.instances_selected, lost.instances_held, lost.series.complete) == (2, 1, 0)
    assert (fewer.instances_selected, fewer.instances_held, fewer.series.complete) == (4, 1, 1)


async def test_a_series_that_is_being_moved_is_held(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        mirror = tmp_path / "mirror"
        with Journal.create_or_open(mirror / ".bulkdl" / "journal.sqlite") as journal:
            row = next(journal.all_series())
            journal.begin_moves([SeriesMove(row.id, row.folder or "", "elsewhere")])
        (mirror / (row.folder or "")).rename(mirror / "elsewhere")
        report = await bulkdl.plan_async(series=SERIES, to=mirror, archive=archive.choice(tmp_path))
    assert (report.instances_held, report.series.complete) == (6, 2)


async def test_says_how_long_the_rest_takes_at_the_speed_of_the_runs_before(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive, BadArchive(MADE_UP) as other:
        choice = archive.choice(tmp_path)
        done = await bulkdl.mirror_async(series=SERIES[:1], to=tmp_path / "m", archive=choice, settings=QUICK)
        report = await bulkdl.plan_async(series=SERIES, to=tmp_path / "m", archive=choice)
        assert report.seconds_expected == pytest.approx(done.seconds, rel=0.2, abs=0.1)
        assert report.as_json()["seconds_expected"] == report.seconds_expected
        elsewhere = await bulkdl.plan_async(series=SERIES, to=tmp_path / "m", archive=other.address)
        nothing_measured = await bulkdl.plan_async(series=SERIES, to=tmp_path / "none", archive=choice)
        nothing_owed = await bulkdl.plan_async(series=SERIES[:1], to=tmp_path / "m", archive=choice)
    assert (elsewhere.seconds_expected, nothing_measured.seconds_expected) == (None, None)
    assert nothing_owed.seconds_expected == 0


async def test_a_part_of_a_series_is_an_estimate(tmp_path: Path) -> None:
    first = MADE_UP[0]
    selection = Selection(series=(first.series_uid,), instances=((first.series_uid, (first.sop_uid,)),))
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.plan_async(selection, archive=archive.choice(tmp_path))
    assert (report.instances_selected, report.exact) == (1, False)


async def test_a_series_that_the_archive_does_not_have_is_named() -> None:
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.plan_async(series=[SERIES[0], "1.2.3"], archive=archive.address)
    assert [failure.series for failure in report.failures] == ["1.2.3"]


async def test_studies_in_a_list_of_series_are_recognised() -> None:
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.plan_async(series=[MADE_UP[0].study_uid], archive=archive.address)
    study = [held for held in MADE_UP if held.study_uid == MADE_UP[0].study_uid]
    assert report.series.selected == len({held.series_uid for held in study})
    assert report.failures == ()
    assert tuple(report.as_json()["notes"]) == (
        f"{MADE_UP[0].study_uid} is not a series but a Study Instance UID; all series of the study are selected",
    )


async def test_a_selection_and_criteria_cannot_be_combined() -> None:
    with pytest.raises(SelectionError, match="further criteria"):
        await bulkdl.plan_async(Selection(everything=True), patient="P", archive="demo")


@pytest.mark.parametrize("name", ["plan.tcia", "plan.csv", "plan.jsonl", "plan"])
async def test_a_saved_plan_is_a_manifest_that_can_be_read(tmp_path: Path, name: str) -> None:
    async with BadArchive(MADE_UP) as archive:
        await bulkdl.plan_async(series=SERIES, archive=archive.address, save=tmp_path / name)
        with pytest.raises(DiskError):
            await bulkdl.plan_async(series=SERIES, archive=archive.address, save=tmp_path / "none" / name)
        with pytest.raises(SelectionError, match="a lock has the checksums of instances"):
            await bulkdl.plan_async(series=SERIES, archive=archive.address, save=tmp_path / "plan.lock")
    saved = read_manifest((tmp_path / name).read_bytes(), source=name)
    assert (saved.format, saved.series) == (Path(name).suffix[1:] or "tcia", SERIES)
    assert [entry.name for entry in os.scandir(tmp_path)] == [name]  # nothing is left of what was not completed


async def test_a_saved_plan_has_the_numbers_of_the_archive_and_single_instances(tmp_path: Path) -> None:
    first = MADE_UP[0]
    one = Selection(series=(first.series_uid,), instances=((first.series_uid, (first.sop_uid,)),))
    async with BadArchive(MADE_UP) as archive:
        await bulkdl.plan_async(one, archive=archive.address, save=tmp_path / "one.csv")
        await bulkdl.plan_async(series=first.series_uid, archive=archive.address, save=tmp_path / "whole.csv")
    assert bulkdl.select(manifest=tmp_path / "one.csv") == one
    (size,) = bulkdl.select(manifest=tmp_path / "whole.csv").expected.values()
    assert size.image_count == len([each for each in MADE_UP if each.series_uid == first.series_uid])


# --- the index of the Imaging Data Commons ----------------------------------------------------------------------------


@pytest.fixture
def idc(tmp_path: Path) -> ArchiveChoice:
    """An archive of IDC with a small index, whose bucket does not exist."""
    rows = [series_row(1), series_row(2, Modality="MR"), series_row(3, collection_id="brain_two", series_size_MB=1.5)]
    index = write_index(tmp_path / "index", rows, prior=[prior_row(9, 2)], names={"brain_two": "Brain-Two"})
    return bulkdl.reach("idc+http://127.0.0.1:9", idc_index=index, cache=tmp_path / "cache")


async def test_an_index_needs_no_bucket_and_is_exact(idc: ArchiveChoice) -> None:
    report = await bulkdl.plan_async(everything=True, archive=idc)
    assert (report.series.selected, report.instances_selected, report.bytes_selected) == (3, 30, 11_500_002)
    assert (report.exact, report.release) == (True, "IDC release 25 (index 25.0.5)")
    assert [(each.collection, each.series) for each in report.collections] == [("Brain-Two", 1), ("lung_one", 2)]
    assert report.series_uids == ("1.2.3.1", "1.2.3.2", "1.2.3.3")
    assert report.as_json()["release"] == report.release


async def test_an_index_is_added_up_like_the_records_of_its_series(idc: ArchiveChoice, tmp_path: Path) -> None:
    """With a mirror beside it, every Series is compared with the journal."""
    files = MirrorFiles(tmp_path / "mirror")
    files.prepare()
    Journal.create_or_open(files.journal_path).close()
    wanted = bulkdl.select(collection=["lung one", "brain two"], modality="CT")
    totals = await bulkdl.plan_async(wanted, archive=idc)
    records = await bulkdl.plan_async(wanted, archive=idc, to=tmp_path / "mirror")
    as_without = replace(records, mirror=None, seconds_expected=None, bytes_free=totals.bytes_free)
    assert replace(as_without, files_free=totals.files_free) == totals


async def test_a_withdrawn_series_is_planned_and_counted(idc: ArchiveChoice) -> None:
    report = await bulkdl.plan_async(series=["1.2.3.1", "1.2.3.9", "1.2.3.77"], archive=idc)
    assert (report.series.selected, report.series.failed, report.withdrawn) == (3, 1, 1)
    assert (report.instances_selected, report.bytes_selected, report.exact) == (10, 10_000_001, False)
    assert [failure.series for failure in report.failures] == ["1.2.3.77"]


async def test_a_misspelt_collection_of_an_index_is_guessed(idc: ArchiveChoice) -> None:
    with pytest.raises(SelectionError, match=r"no series for collection Brian-Two; did you mean Brain-Two\?"):
        await bulkdl.plan_async(collection="Brian-Two", archive=idc)


# Of 33 real manifests of TCIA: the Series that release 25 has, those of earlier releases alone, and those of none. The
# manifests are not in the repository: BULKDL_TCIA_MANIFESTS names their folder.
MANIFESTS: Final = Path(os.environ.get("BULKDL_TCIA_MANIFESTS", "manifests of TCIA"))
IN_RELEASE_25: Final = {
    "AHOD0831-PATDIT": (0, 0, 5),
    "AREN0532-PAPVBY": (0, 0, 6),
    "AREN0534-PAPYAR": (0, 0, 20),
    "BSC-DBT-Train-manifest": (19_148, 0, 0),
    "BSC-DBT-Validation-manifest": (1_163, 0, 0),
    "CALGB50303-108993": (0, 0, 14),
    "CMB-AML_v04_20240828_test": (1, 0, 0),
    "CMB-BRCA_v02_20241217": (59, 0, 0),
    "CMB-CRC_CT_small": (1, 0, 0),
    "CMB-CRC_CT_triple": (3, 0, 0),
    "CPTAC-CCRCC-demo": (3, 0, 0),
    "CPTAC-UCEC-demo": (3, 0, 0),
    "Lung-PET-CT-Dx-NBIA-Manifest-122220": (1_295, 0, 0),
    "NBIA-Submission-Test-Data_2524series-56gbytes": (2_524, 0, 0),
    "NBIA-manifest-sample-ct-lower-extremity": (3, 0, 2),
    "NBIA-manifest-sample-ct-wb": (2_522, 1, 1_093),
    "NSCLC-RADIOMICS-INTEROBSERVER1-Aug-31-2020-NBIA-manifest": (64, 0, 0),
    "NSCLC-Radiomics-Version-4-Oct-2020-NBIA-manifest": (1_265, 0, 0),
    "PDMR-Texture-Analysis": (1_203, 0, 0),
    "RIDER-Lung-CT_v3_20240625": (936, 0, 0),
    "Spine-Mets-CT-SEG_v1_2024": (110, 0, 0),
    "TCIA-CPTAC-UCEC_v12_20240405": (2_576, 0, 0),
    "TCIA_LIDC-IDRI_20200921": (1_308, 0, 0),
    "TCIA_RIDER_NEURO_MRI_06-22-2015": (0, 0, 368),
    "UPENN-GBM_DownloadManifest20221129": (3_680, 0, 0),
    "acns0332-demo-PARJIR": (0, 0, 6),
    "doiJNLP-TCGA-LUAD-01-30-2017": (624, 0, 0),
    "doiJNLP-auLIj9wT-Prostate_Fused-MRI-Pathologyv1": (324, 0, 0),
    "nbia-cmb-aml-test": (14, 0, 0),
    "pediatric-ct-seg-nov-30-2021-manifest": (615, 103, 0),
    "retry-2022-12-25-manifest": (10, 0, 0),
    "small_manifest": (5, 0, 0),
    "test_series": (39, 0, 0),  # its one UID is that of a Study
}


@pytest.mark.skipif(not MANIFESTS.is_dir(), reason="BULKDL_TCIA_MANIFESTS does not name the folder of the manifests")
@pytest.mark.parametrize("name", IN_RELEASE_25)
async def test_a_real_manifest_is_planned_against_the_real_index(name: str, tmp_path: Path) -> None:
    choice = bulkdl.reach("idc+http://127.0.0.1:9", cache=tmp_path)
    report = await bulkdl.plan_async(manifest=MANIFESTS / f"{name}.tcia", archive=choice)
    if not (report.release or "").startswith("IDC release 25 "):
        pytest.skip(f"the figures are of release 25, not of {report.release}")
    current = report.series.selected - report.withdrawn - report.series.failed
    assert (current, report.withdrawn, report.series.failed) == IN_RELEASE_25[name]


@pytest.mark.skipif(not MANIFESTS.is_dir(), reason="BULKDL_TCIA_MANIFESTS does not name the folder of the manifests")
async def test_all_real_manifests_together_have_each_series_once(tmp_path: Path) -> None:
    choice = bulkdl.reach("idc+http://127.0.0.1:9", cache=tmp_path)
    report = await bulkdl.plan_async(manifest=[MANIFESTS / f"{name}.tcia" for name in IN_RELEASE_25], archive=choice)
    assert (report.series.selected, report.withdrawn, report.series.failed) == (40_133, 104, 1_515)


class SizelessArchive(BadArchive):
    """It sends no sizes with its Series, as TCIA v3 does."""

    def rows(self, of_series: Sequence[MadeUp]) -> list[dict[str, Any]]:
        return [{**row, "FileSize": None} for row in super().rows(of_series)]

    def right(self, seen: Seen) -> Action:
        if endpoint_of(seen) != "getSeriesSize":
            return super().right(seen)
        sizes = [len(one.content) for one in self.made_up if one.series_uid == seen.query["SeriesInstanceUID"]]
        content = json.dumps([{"TotalSizeInBytes": sum(sizes), "ObjectCount": len(sizes)}]).encode()
        return answer(content, headers={"Content-Type": "application/json"})


async def test_sizes_that_do_not_come_with_the_series_are_asked_for_and_then_estimated() -> None:
    made_up = list(instances(series=103, per_series=2))
    async with SizelessArchive(made_up) as archive:
        few = await bulkdl.plan_async(series=[made_up[0].series_uid], archive=archive.address)
        many = await bulkdl.plan_async("MADE-UP", archive=archive.address)
        assert len(archive.asked("getSeriesSize")) == 101
    size = len(made_up[0].content)
    assert (few.bytes_selected, few.exact) == (2 * size, True)
    assert (many.bytes_selected, many.exact, many.instances_selected) == (206 * size, False, 206)
    assert [each.exact for each in many.collections] == [False]


async def test_a_plan_of_a_route_is_by_collection_and_source_and_has_the_licences(tmp_path: Path) -> None:
    index = write_index_of(tmp_path / "index", MADE_UP[:3])
    async with BadArchive(MADE_UP) as archive:
        profiles = {"idc": "idc+http://127.0.0.1:9", "nbia": archive.address}
        choice = bulkdl.reach("tcia", profiles=profiles, idc_index=index, cache=tmp_path / "cache")
        report = await bulkdl.plan_async("MADE-UP", archive=choice)
    assert [(each.collection, each.source, each.series, each.licenses) for each in report.collections] == [
        ("MADE-UP", "idc", 1, ("CC BY 4.0",)),
        ("MADE-UP", "nbia", 1, ()),
    ]
    assert [(each.license, each.series) for each in report.licenses] == [(None, 1), ("CC BY 4.0", 1)]
    document = report.as_json()
    assert document["collections"][0]["licenses"] == ("CC BY 4.0",)
    assert document["files"]["free"] == report.files_free
