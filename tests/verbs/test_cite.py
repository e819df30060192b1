"""`cite` names each Collection and analysis result once, with its licence, from a journal or from an archive."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pybtex.database
import pytest
import rispy

import bulkdl
from bulkdl.archive.idc.catalogue import IdcCatalogue
from bulkdl.archive.idc.index import installed_index
from bulkdl.errors import JournalUnreadable, SelectionError
from bulkdl.model.dois import doi_in
from bulkdl.runtime.disk import JOURNAL
from bulkdl.services.citations import read_reference
from tests.support.bad_archive import BadArchive, command
from tests.support.commands import RunningArchive
from tests.support.csl_data import csl_problems
from tests.support.dicom_files import instances
from tests.support.layouts import mirror_of
from tests.support.syncing import mirrored, synced

TCIA_PAPER = "10.1007/s10278-013-9622-7"
IDC_PAPER = "10.1148/rg.230180"


@pytest.fixture(scope="module")
def mirror(demo_archive: RunningArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The segmentations of the phantom: six Series of three Patients."""
    root = tmp_path_factory.mktemp("cite") / "mirror"
    bulkdl.mirror(collection="BULKDL-PHANTOM", modality="SEG", archive=demo_archive.url, to=root)
    return root


def test_a_mirror_is_cited_from_its_journal(mirror: Path) -> None:
    report = bulkdl.cite(mirror)
    (one,) = report.data_sets
    assert (one.collections, one.series, one.instances) == (("BULKDL-PHANTOM",), 6, 6)
    assert one.licenses
    assert [reference["DOI"] for reference in report.references] == [one.doi]  # it is not one of TCIA
    assert "6 DICOM instances in 6 series of 3 patients" in report.paragraph
    assert f"https://doi.org/{one.doi}" in report.paragraph


def test_each_collection_of_the_demonstration_has_a_doi_and_a_citation(demo_archive: RunningArchive) -> None:
    report = bulkdl.cite(bulkdl.select(everything=True), archive=demo_archive.url, format="csl-json")
    assert len(report.data_sets) == len({one.doi for one in report.data_sets}) > 5
    assert all(one.is_cited_by_archive for one in report.data_sets)
    items = json.loads(report.text)
    assert csl_problems(items) == []
    made_up = [item for item in items if item["DOI"].startswith("10.5072/")]  # the prefix of DataCite for tests
    assert len(made_up) >= 7
    assert all(item["author"] and item["issued"]["date-parts"] == [[2026]] for item in made_up)


def test_the_paragraph_has_the_digest_of_the_lock(mirror: Path, tmp_path: Path) -> None:
    with (tmp_path / "mirror.lock").open("w", newline="") as file:
        bulkdl.manifest_lock(mirror, file)
    head = dict(line.split("\t", 1) for line in (tmp_path / "mirror.lock").read_text().split("\n\n")[0].splitlines())
    report = bulkdl.cite(mirror)
    assert report.lock_sha256 == head["sha256"]
    assert head["sha256"] in report.paragraph


async def test_a_mirror_of_several_archives_is_cited_with_all_of_them_and_the_dates_of_its_downloads(
    tmp_path: Path,
) -> None:
    made_up, others = list(instances(series=2, per_series=2)), list(instances(series=1, per_series=2, seed="other"))
    async with BadArchive(made_up) as archive:
        one = await mirrored(archive, tmp_path)
        await synced(archive, one, made_up)
    other = await mirror_of(others, tmp_path / "adopted")
    await bulkdl.merge_async(other, to=one)
    await bulkdl.relayout_async(one, layout="flat")
    with closing(sqlite3.connect(one / JOURNAL)) as journal:
        for verb, begun, ended in (
            ("mirror", "2026-03-02T10:00:00+00:00", "2026-03-05T10:00:00+00:00"),
            ("adopt", "2026-02-01T10:00:00+00:00", "2026-02-01T10:01:00+00:00"),
        ):
            journal.execute("UPDATE run SET started_at = ?, ended_at = ? WHERE verb = ?", (begun, ended, verb))
        journal.commit()
    report = bulkdl.cite(one)
    assert report.archive == f"{archive.address} and nbia"
    assert f"from {report.archive} between 2026-02-01 and 2026-03-05 with bulkdl" in report.paragraph
    page = bulkdl.report(one, to=tmp_path / "page.html", quick=True)
    assert {group.name: group.series for group in page.groups["source"]} == {archive.address: 2, "nbia": 1}


def test_a_selection_is_cited_without_a_download(demo_archive: RunningArchive, mirror: Path) -> None:
    asked = bulkdl.cite(["BULKDL-PHANTOM"], modality="SEG", archive=demo_archive.url)
    held = bulkdl.cite(mirror)
    assert asked.text == held.text
    assert asked.lock_sha256 is None


def test_each_form_is_read_by_another_program(mirror: Path) -> None:
    bibtex = pybtex.database.parse_string(bulkdl.cite(mirror, format="bibtex").text, "bibtex")
    dois = [entry.fields["doi"] for entry in bibtex.entries.values()]
    assert [entry["doi"] for entry in rispy.loads(bulkdl.cite(mirror, format="ris").text)] == dois
    assert [item["DOI"] for item in json.loads(bulkdl.cite(mirror, format="csl-json").text)] == dois


async def test_the_command_prints_references_alone_in_the_other_forms(mirror: Path, cache: Path) -> None:
    shown = await command("cite", mirror, cache=cache)
    assert shown.code == 0
    assert "Data availability" in shown.out
    bibtex = await command("cite", mirror, "--format", "bibtex", cache=cache)
    assert bibtex.out.startswith("@misc{")
    assert "Data availability" not in bibtex.out


def test_a_collection_of_idc_is_cited_with_its_analysis_results() -> None:
    pytest.importorskip("idc_index_data")
    report = bulkdl.cite("QIN-Breast", archive="idc")
    dois = [reference["DOI"] for reference in report.references]
    assert len(dois) == len(set(dois)) > 3
    assert dois[-2:] == [TCIA_PAPER, IDC_PAPER]
    assert any(one.is_analysis_result for one in report.data_sets)
    assert all(one.is_cited_by_archive and one.licenses for one in report.data_sets)


def test_all_of_idc_says_how_it_is_cited() -> None:
    pytest.importorskip("idc_index_data")
    files = installed_index()
    assert files is not None
    with IdcCatalogue(files) as catalogue:
        described = [catalogue.described(name) for name in catalogue.collections()]
    collections = [one for found in described for one in found.collections]
    results = {one.result: one for found in described for one in found.results}
    assert (len(collections), len(results)) == (179, 26)
    publications = [(one.title, one.citation, one.doi) for collection in collections for one in collection.publications]
    publications += [(one.title, one.citation, doi_in(one.uri)) for one in results.values()]
    read = [read_reference(citation, title=title or "", doi=doi) for title, citation, doi in publications]
    assert [one.doi for one in read if not (one.authors and one.year and one.publisher)] == []


def test_what_cannot_be_cited_is_refused(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="leave out the criteria"):
        bulkdl.cite(mirror, modality="CT")
    with pytest.raises(JournalUnreadable):
        bulkdl.cite(tmp_path)
