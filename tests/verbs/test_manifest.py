"""Manifests are shown, converted, compared and made from mirrors."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ManifestError, SelectionError
from bulkdl.manifest import read_manifest
from bulkdl.model.selection import Selection
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances
from tests.support.syncing import mirrored

MADE_UP = list(instances(series=3, per_series=2))
SERIES = tuple(dict.fromkeys(one.series_uid for one in MADE_UP))
MIXED = "Collection,PatientID,StudyInstanceUID,SeriesInstanceUID\nA,,,\n,P,,\n,,1.2,\n,,,1.3\n"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.csv"
    path.write_text(MIXED)
    return path


def test_a_manifest_is_shown_by_what_it_names(mixed: Path) -> None:
    report = bulkdl.manifest_show(mixed)
    assert (report.format, report.collections, report.patients, report.studies, report.series) == ("csv", 1, 1, 1, 1)
    assert str(report).endswith("mixed.csv (csv): 1 collection, 1 patient, 1 study, 1 series")


def test_settings_and_stated_numbers_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a.tcia").write_text("manifestVersion=3.0\nListOfSeriesToDownload=\n1.2.3\n")
    assert str(bulkdl.manifest_show(tmp_path / "a.tcia")).endswith("(tcia): 1 series\nmanifestVersion=3.0")
    (tmp_path / "a.csv").write_text("Series UID,ImageCount,FileSize\n1.2.3,3,1000\n1.2.4,4,2000\n")
    assert "stated: 7 instances, 3.0 kB" in str(bulkdl.manifest_show(tmp_path / "a.csv"))


def test_a_manifest_is_converted(mixed: Path) -> None:
    out = io.StringIO()
    report = bulkdl.manifest_convert(mixed, out, format="jsonl")
    assert (report.series, report.notes) == (1, ())
    before, after = read_manifest(MIXED.encode(), source="-"), read_manifest(out.getvalue().encode(), source="-")
    for level in ("collections", "patients", "studies", "series"):
        assert getattr(before, level) == getattr(after, level)


def test_what_a_form_cannot_hold_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("SeriesInstanceUID,SOPInstanceUID\n1.2.3,1.2.3.1\n1.2.3,1.2.3.2\n,\nx,\n")
    out = io.StringIO()
    report = bulkdl.manifest_convert(tmp_path / "a.csv", out, format="tcia", skip_bad_lines=True)
    assert out.getvalue().endswith("ListOfSeriesToDownload=\n1.2.3\n")
    assert report.notes[-1] == "single instances are named; this form lists their whole series"
    assert len(report.notes) == 2


@pytest.mark.parametrize("form", ["tcia", "csv", "jsonl"])
async def test_a_manifest_of_a_mirror_selects_what_it_holds(tmp_path: Path, form: str) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
    out = io.StringIO()
    assert bulkdl.manifest_from_mirror(mirror, out, format=form).series == len(SERIES)
    manifest = read_manifest(out.getvalue().encode(), source="-")
    assert set(manifest.series) == set(SERIES)
    if form != "tcia":
        assert {size.image_count for size in manifest.expected.values()} == {2}


async def test_a_part_of_a_series_stays_a_part(tmp_path: Path) -> None:
    first = MADE_UP[0]
    one = Selection(series=(first.series_uid,), instances=((first.series_uid, (first.sop_uid,)),))
    async with BadArchive(MADE_UP) as archive:
        await bulkdl.mirror_async(one, to=tmp_path / "m", archive=archive.choice(tmp_path))
    out = io.StringIO()
    bulkdl.manifest_from_mirror(tmp_path / "m", out)
    assert read_manifest(out.getvalue().encode(), source="-").instances == one.instances


def test_two_manifests_are_compared(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("SeriesInstanceUID,ImageCount\n1.1,1\n1.2,2\n1.3,3\n")
    (tmp_path / "b.json").write_text(
        '[{"SeriesInstanceUID": "1.3"}, {"SeriesInstanceUID": "1.2", "ImageCount": 5}, {"PatientID": "P"}]'
    )
    report = bulkdl.manifest_diff(tmp_path / "a.csv", tmp_path / "b.json")
    assert (report.removed, report.added) == (("series 1.1",), ("patient P",))
    assert report.changed == ("series 1.2: 2 → 5 instances",)
    assert str(report).splitlines() == ["- series 1.1", "+ patient P", "~ series 1.2: 2 → 5 instances"]
    assert bulkdl.manifest_diff(tmp_path / "a.csv", tmp_path / "a.csv").is_same


def test_a_series_that_only_one_manifest_narrows_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("SeriesInstanceUID,SOPInstanceUID\n1.1,1.1.1\n1.1,1.1.2\n1.2,1.2.1\n")
    whole = b"SeriesInstanceUID\n1.1\n1.3\n"
    report = bulkdl.manifest_diff(tmp_path / "a.csv", whole)
    assert (report.removed, report.added) == (("instance 1.2/1.2.1",), ("series 1.3",))
    assert report.changed == ("series 1.1: 2 single instances → whole",)
    back = bulkdl.manifest_diff(whole, tmp_path / "a.csv")
    assert (back.first, back.changed) == ("standard input", ("series 1.1: whole → 2 single instances",))


def test_numbers_that_are_not_stated_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("SeriesInstanceUID,ImageCount\n1.1,1\n")
    assert str(bulkdl.manifest_show(tmp_path / "a.csv")).splitlines()[1:] == ["stated: 1 instance"]
    (tmp_path / "b.csv").write_text("SeriesInstanceUID,FileSize\n1.1,1000\n")
    assert str(bulkdl.manifest_show(tmp_path / "b.csv")).splitlines()[1:] == ["stated: 1.0 kB"]


def test_the_folders_of_an_s5cmd_manifest_are_series_without_uids(tmp_path: Path) -> None:
    before, after = tmp_path / "before.s5cmd", tmp_path / "after.s5cmd"
    folder, other = (f"idc-open-data/00000000-0000-4000-8000-{number:012}" for number in (1, 2))
    name = "00000000-0000-4000-8000-000000000003.dcm"
    before.write_text(f"cp s3://{folder}/* .\ncp s3://{other}/{name} .\n")
    after.write_text(f"cp s3://{folder}/* .\n")
    shown = bulkdl.manifest_show(before)
    assert (shown.format, shown.series, shown.instances) == ("s5cmd", 2, 1)
    assert bulkdl.manifest_diff(before, after).removed == (f"object {other}/{name}",)
    out = io.StringIO()
    written = bulkdl.manifest_convert(before, out, format="s5cmd")
    assert (written.series, written.instances) == (2, 1)


SAMPLE = Path(__file__).parents[2] / "manifests" / "cohort.lock"


def test_a_lock_is_shown_by_its_head_and_copied_as_it_is(tmp_path: Path) -> None:
    report = bulkdl.manifest_show(SAMPLE)
    assert (report.series, report.instances, report.stated_instances) == (3, 16, 16)
    out = io.StringIO(newline="")
    assert bulkdl.manifest_convert(SAMPLE, out, format="lock").instances == 16
    assert out.getvalue() == SAMPLE.read_text()
    (tmp_path / "a.lock").write_text(SAMPLE.read_text()[:-100])
    for action in (bulkdl.manifest_show, lambda path: bulkdl.manifest_convert(path, io.StringIO(), format="lock")):
        with pytest.raises(ManifestError):
            action(tmp_path / "a.lock")


def test_another_manifest_does_not_become_a_lock(mixed: Path) -> None:
    with pytest.raises(SelectionError, match="bulkdl manifest lock DIR"):
        bulkdl.manifest_convert(mixed, io.StringIO(), format="lock")
