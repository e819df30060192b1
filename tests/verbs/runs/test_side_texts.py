"""The texts beside the images of a mirror: true while it grows, and the same bytes where nothing changed."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from bibtexparser.entrypoint import parse_string

from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldGroup
from bulkdl.model.descriptions import CollectionDescription, Publication, ResultDescription
from bulkdl.model.events import Event, Noted
from bulkdl.runtime.disk import JOURNAL
from bulkdl.services.citations import KnownReferences
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.runs.side_texts import license_text, references_of
from bulkdl.verbs.serve import serve_async
from bulkdl.verbs.verify import verify_async
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import instances

MADE_UP = list(instances(series=3, per_series=2, collection='A "quoted", name'))
DOI = "https://doi.org/10.7937/k9/tcia.2016.x"
GROUP = HeldGroup.of_row(("A", "A", "CC BY 3.0", "https://license", DOI, 0, 0, 1, 2, 3))


def texts_of(mirror: Path) -> dict[str, tuple[bytes, int]]:
    """The contents and times of everything beside the images."""
    found = (path for path in mirror.rglob("*") if path.is_file() and ".bulkdl" not in path.parts)
    return {
        str(path.relative_to(mirror)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in found
        if path.suffix != ".dcm"
    }


def rows_of(mirror: Path) -> list[dict[str, str]]:
    with (mirror / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


async def test_a_mirror_has_texts_that_stay_true(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP[:2]) as archive:
        await archive.mirror(tmp_path)
        (folder,) = (path.name for path in mirror.iterdir() if path.is_dir() and path.name != ".bulkdl")
        before = texts_of(mirror)
        assert sorted(before) == sorted([f"{folder}/CITATION.bib", f"{folder}/LICENSE", "README.txt", "metadata.csv"])
        await archive.mirror(tmp_path)
        await archive.resume(tmp_path)
        assert texts_of(mirror) == before, "same bytes and times where nothing changed"
        archive.made_up = MADE_UP
        await archive.mirror(tmp_path)
    rows = rows_of(mirror)
    assert {row["Series UID"] for row in rows} == {one.series_uid for one in MADE_UP}
    assert {row["Collection"] for row in rows} == {'A "quoted", name'}
    assert {row["Number of Images"] for row in rows} == {"2"}
    assert all(row["SOP Class UID"].startswith("1.2.840.10008.") and row["SOP Class Name"] for row in rows)
    assert b"6 instances in 3 series" in texts_of(mirror)["README.txt"][0]
    report = await verify_async(mirror)
    assert report.problems == ()


async def test_texts_that_are_gone_come_back(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        before = texts_of(tmp_path / "mirror")
        (tmp_path / "mirror" / "README.txt").unlink()
        await archive.resume(tmp_path)
    after = texts_of(tmp_path / "mirror")
    assert {path: content for path, (content, _) in after.items()} == {
        path: content for path, (content, _) in before.items()
    }


async def test_a_user_can_do_without(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path, no_side_files=True)
        assert texts_of(tmp_path / "mirror") == {}
        await archive.mirror(tmp_path)  # as a mirror of an earlier version
    assert "metadata.csv" in texts_of(tmp_path / "mirror")


async def test_the_file_of_another_program_is_left_alone_and_said(tmp_path: Path) -> None:
    events: list[Event] = []
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "metadata.csv").write_text("of the Retriever")
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path, sink=events.append)
    assert (tmp_path / "mirror" / "metadata.csv").read_text() == "of the Retriever"
    notes = [event.message for event in events if isinstance(event, Noted)]
    assert len([note for note in notes if note.startswith("metadata.csv was not written")]) == 1


async def test_a_layout_without_folders_of_collections_has_them_for_the_texts(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP) as archive:
        uids = list(dict.fromkeys(one.series_uid for one in MADE_UP))
        await mirror_async(series=uids, to=mirror, layout="flat", archive=archive.choice(tmp_path), settings=QUICK)
    assert len(list((mirror / "_collections").glob("*/LICENSE"))) == 1
    assert (await verify_async(mirror)).problems == ()


async def test_a_file_that_cannot_be_written_fails_no_run(tmp_path: Path) -> None:
    events: list[Event] = []
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path, no_side_files=True)
        (mirror / ".bulkdl" / "side-file.partial").mkdir()
        report = await archive.mirror(tmp_path, sink=events.append)
    assert report.failures == ()
    assert any("not all texts" in event.message for event in events if isinstance(event, Noted))


async def test_a_served_mirror_does_not_offer_them(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
    async with serve_async(tmp_path / "mirror", cache=tmp_path / "cache") as served:
        assert served.report.totals.instances == len(MADE_UP)
        assert served.report.unservable == ()


async def test_what_is_adopted_is_in_them(tmp_path: Path) -> None:
    first, *others = (MADE_UP[number : number + 2] for number in range(0, len(MADE_UP), 2))
    mirror, folder = tmp_path / "mirror", tmp_path / "folder"
    folder.mkdir()
    for number, one in enumerate(others[0]):
        (folder / str(number)).write_bytes(one.content)
    async with BadArchive(first) as archive:
        await archive.mirror(tmp_path)
    await adopt_async(folder, to=mirror, collection="A")
    assert {row["Series UID"] for row in rows_of(mirror)} == {first[0].series_uid, others[0][0].series_uid}
    assert "4 instances in 2 series" in (mirror / "README.txt").read_text()
    await adopt_async(folder, to=tmp_path / "new", collection="A")
    assert not (tmp_path / "new" / "metadata.csv").exists()


def sop_classes(mirror: Path) -> list[str | None]:
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        return [journal.sop_class(row.id) for row in journal.series(limit=9)]


async def test_the_sop_class_of_a_series_is_known_from_the_validation_of_its_files(tmp_path: Path) -> None:
    mirror, adopted = tmp_path / "mirror", tmp_path / "adopted"
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path, no_side_files=True)
    await adopt_async(mirror, to=adopted)
    assert sop_classes(mirror) == sop_classes(adopted) == ["1.2.840.10008.5.1.4.1.1.2"] * 3


async def test_the_header_of_a_series_is_read_once_where_its_sop_class_is_unknown(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path, no_side_files=True)
        with closing(sqlite3.connect(mirror / JOURNAL, isolation_level=None)) as database:
            database.execute("DELETE FROM series_header")
        assert sop_classes(mirror) == [None] * 3
        await archive.mirror(tmp_path)
    assert sop_classes(mirror) == ["1.2.840.10008.5.1.4.1.1.2"] * 3


# --- licences and references ------------------------------------------------------------------------------------------

DESCRIBED = CollectionDescription(
    collection="A",
    uri=DOI,
    description="A set.\nRoth, H. (2016). Data of A [Data set]. The Cancer Imaging Archive. " + DOI,
    license_name="CC BY 4.0",
)
OF_IDC = CollectionDescription(
    collection="A",
    uri=DOI,
    publications=(Publication(doi="10.7937/k9/tcia.2016.x", title="Data of A", citation="Roth, H. (2016). " + DOI),),
)
RESULT = ResultDescription(
    result="seg", title="Masks", uri="https://doi.org/10.5281/zenodo.1", citation="Fe, A. 10.5281/zenodo.1"
)


def test_says_the_licence_of_each_source() -> None:
    other = replace(GROUP, uri="https://doi.org/10.5281/zenodo.1", license_name=None, is_third_party=True)
    text = license_text("A", [GROUP, other], DESCRIBED)
    assert "License: CC BY 3.0\nLicense URL: https://license" in text
    assert "Analysis results of others published at https://doi.org/10.5281/zenodo.1\nLicense: not stated" in text
    assert "agree to its policy" in text


def test_the_licence_of_the_collection_counts_where_its_series_have_none() -> None:
    text = license_text("A", [replace(GROUP, license_name=None, license_uri=None)], DESCRIBED)
    assert "License: CC BY 4.0" in text


@pytest.mark.parametrize(("described", "title"), [(None, "A"), (DESCRIBED, "Data of A"), (OF_IDC, "Data of A")])
def test_cites_what_is_held(described: CollectionDescription | None, title: str) -> None:
    found = references_of([GROUP], described, KnownReferences([described] if described else [], [RESULT]))
    assert [each.title.partition(" (TCIA)")[0] for each in found] == [title, "The Cancer Imaging Archive"]


def test_cites_analysis_results_and_idc() -> None:
    derived = replace(GROUP, uri=RESULT.uri, is_third_party=True, is_in_bucket=True)
    found = references_of([GROUP, derived], OF_IDC, KnownReferences([OF_IDC], [RESULT]))
    assert [each.doi for each in found] == [
        "10.7937/k9/tcia.2016.x",
        "10.5281/zenodo.1",
        "10.1007/s10278-013-9622-7",
        "10.1148/rg.230180",
    ]


def test_a_collection_without_any_address_is_cited_by_its_name() -> None:
    found = references_of([replace(GROUP, uri=None)], None, KnownReferences((), ()))
    assert [(each.title, each.doi) for each in found] == [("A", None)]


async def test_the_references_are_bibtex(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
    (path,) = (tmp_path / "mirror").glob("*/CITATION.bib")
    library = parse_string(path.read_text(encoding="utf-8"))
    assert len(library.entries) == 1
    assert library.failed_blocks == []
