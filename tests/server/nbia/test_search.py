"""Searches by lengths and dates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.server.access import AccessRules
from bulkdl.server.app import make_app, serving
from bulkdl.server.catalogue import Catalogue, Root
from bulkdl.server.catalogue.holdings import Holdings
from bulkdl.server.nbia.search import found_series, parse_search, summary
from tests.support.catalogue_files import one, put
from tests.support.dicom_samples import SERIES_UID, encoded, image
from tests.support.served import Served, served


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Served]:
    path = tmp_path / "files" / "OPEN" / "a.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(encoded(image(SliceThickness="2.5", PixelSpacing=["0.75", "0.5"])))
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite") as running:
        yield running


async def test_metadata_contain_lengths(archive: Served) -> None:
    answer = await archive.nbia("v4/getSeriesMetadata", method="POST", data={"list": SERIES_UID, "format": "json"})
    (row,) = answer.document
    assert (row["PixelSpacing(mm)-Row"], row["SliceThickness(mm)"]) == (0.75, 2.5)


@pytest.mark.parametrize(
    "kind",
    [
        "DescriptionCriteria",
        "DateRangeCriteria",
        "PatientAgeRangeCriteria",
        "PixelSpacingRangeCriteria",
        "SliceThicknessRangeCriteria",
    ],
)
async def test_more_conditions_than_the_database_takes_are_refused(archive: Served, kind: str) -> None:
    """It was an error of the server, whose log said that the catalogue is damaged."""
    for number, status in ((100, 200), (101, 400), (1_999, 400)):
        form = {f"criteriaType{each}": kind for each in range(number)}
        answer = await archive.nbia("v4/getSimpleSearch", method="POST", data=form)
        assert answer.status == status
        for endpoint in ("v4/getManifestForSimpleSearch", "getSimpleSearchWithModalityAndBodyPartPaged"):
            answer = await archive.nbia(endpoint, method="POST", data=form, token=await archive.log_in())
            assert answer.status == status


@pytest.mark.parametrize(
    ("kind", "least", "most", "found"),
    [
        ("PixelSpacingRangeCriteria", "0.7", "0.8", 1),
        ("PixelSpacingRangeCriteria", "0.75 mm", "", 1),
        ("PixelSpacingRangeCriteria", "0.4", "0.6", 0),
        ("SliceThicknessRangeCriteria", "", "2.5mm", 1),
        ("SliceThicknessRangeCriteria", "2.6", "", 0),
        ("SliceThicknessRangeCriteria", "0", "0", 0),
        ("SliceThicknessRangeCriteria", "", "", 1),
    ],
)
async def test_finds_lengths_within_a_range(archive: Served, kind: str, least: str, most: str, found: int) -> None:
    form = {"criteriaType0": kind, "from0": least, "to0": most}
    answer = await archive.nbia("v4/getSimpleSearch", method="POST", data=form)
    assert answer.status == 200
    assert sum(patient["totalNumberOfSeries"] for patient in answer.document["resultSet"]) == found


@pytest.mark.parametrize("text", ["wide", "nan", "-1", "inf", "1e400"])
async def test_rejects_an_invalid_length(archive: Served, text: str) -> None:
    form = {"criteriaType0": "SliceThicknessRangeCriteria", "from0": text}
    answer = await archive.nbia("v4/getSimpleSearch", method="POST", data=form)
    assert (answer.status, answer.body) == (400, b"a length is invalid")


@pytest.mark.parametrize("kind", ["Foo", "Criteria.DateRange", ""])
async def test_skips_a_criterion_that_it_does_not_know(archive: Served, kind: str) -> None:
    """As NBIA does. tcia_utils sends `Criteria.DateRange` on Python 3.11 and later."""
    form = {"criteriaType0": kind, "value0": "0", "criteriaType1": "SliceThicknessRangeCriteria", "from1": "2.6"}
    for last, found in ((form, 0), ({"criteriaType0": kind, "value0": "0"}, 1)):
        answer = await archive.nbia("v4/getSimpleSearch", method="POST", data=last)
        assert (answer.status, answer.document["totalPatients"]) == (200, found)


# --- whole Collections, which are answered from counts ----------------------------------------------------------------

VALUES = (("CT", "CHEST"), ("CT", "CHEST"), ("MR", "CHEST"), ("MR", None), ("SEG", "HEAD"))


def varied(folder: Path) -> None:
    """Three Collections of Patients with one to three Studies, of up to three Series of different modalities."""
    number = 0
    for collection, patients in (("ALPHA", 5), ("Beta", 2), ("GAMMA", 1)):
        for patient, study, series in product(range(patients), range(3), range(3)):
            if study > patient % 3 or series > (patient + study) % 3:
                continue
            number += 1
            modality, body_part = VALUES[number % len(VALUES)]
            content = one(
                PatientID=f"{collection}-{patient}" if patient else "SHARED",
                StudyInstanceUID=f"1.2.{ord(collection[0])}.{patient}.{study}",
                SeriesInstanceUID=f"1.3.{number}",
                SOPInstanceUID=f"1.4.{number}",
                Modality=modality,
                BodyPartExamined=body_part,
            )
            if number % len(VALUES) == 1:  # in another case, which pydicom would not write
                content = content.replace(b"CS\x02\x00CT", b"CS\x02\x00ct").replace(b"CHEST", b"Chest")
            put(folder, f"{collection}/{number}.dcm", content)


@pytest_asyncio.fixture
async def collections(tmp_path: Path) -> AsyncIterator[Served]:
    await asyncio.to_thread(varied, tmp_path / "files")
    rules = AccessRules(restricted=frozenset({"GAMMA"}))
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", rules=rules) as running:
        yield running


@pytest.mark.parametrize("wanted", [(), ("alpha",), ("Beta", "ALPHA"), ("GAMMA",), ("nothing",)], ids=str)
async def test_whole_collections_are_counted_as_series_by_series(collections: Served, wanted: tuple[str, ...]) -> None:
    criteria = {
        name: text
        for number, collection in enumerate(wanted)
        for name, text in ((f"criteriaType{number}", "CollectionCriteria"), (f"value{number}", collection))
    }
    slowly = {f"criteriaType{len(wanted)}": "MinNumberOfStudiesCriteria", f"value{len(wanted)}": "1"}
    for order, direction, (start, size) in product(
        ("subject", "studies", "series", "collection"), ("ascending", "descending"), ((0, 100), (1, 2), (90, 5))
    ):
        page = {"sortField": order, "sortDirection": direction, "start": str(start), "size": str(size)}
        both = [
            (await collections.nbia("v4/getSimpleSearch", method="POST", data={**criteria, **page, **more})).document
            for more in ({}, slowly)
        ]
        assert both[0] == both[1], page
        assert (both[0]["totalPatients"] > 0) == (wanted not in {("GAMMA",), ("nothing",)})


@pytest.mark.parametrize("submitted", [None, datetime(2022, 5, 6)], ids=["all-released", "one-submitted"])  # noqa: DTZ001 - as archives have it
def test_dates_are_those_of_the_release_or_else_of_the_submission(tmp_path: Path, submitted: datetime | None) -> None:
    days = [date(2021, 1, 1), date(2022, 1, 1), date(2023, 1, 1)]
    made = [
        Series(series_uid=SeriesUid(f"1.{number}"), patient_id=str(number), collection="C", released=day)
        for number, day in enumerate(days)
    ]
    if submitted is not None:
        made.append(Series(series_uid=SeriesUid("1.9"), patient_id="9", collection="C", submitted=submitted))
    form = {"criteriaType0": "DateRangeCriteria", "fromDate0": "06-01-2021", "toDate0": "12-31-2022"}
    with Catalogue.open(tmp_path / "catalogue.sqlite") as catalogue:
        with Holdings(catalogue, tmp_path).loading({}) as arrangement:
            arrangement.add_records(made)
        search = parse_search(form, date_format="%m-%d-%Y")
        patients = summary(catalogue, search, authorized=False).patients
        found = [row["subjectId"] for batch in patients for row in batch]
        assert found == ["1"] + ["9"] * (submitted is not None)
        assert len(list(found_series(catalogue, search))) == len(found)


async def test_a_large_page_is_sent_while_it_is_read_and_is_as_small_ones(tmp_path: Path) -> None:
    made = [
        Series(series_uid=SeriesUid(f"1.{number}"), patient_id=f"P{number:03}", collection="C") for number in range(650)
    ]
    path = tmp_path / "catalogue.sqlite"
    with Catalogue.open(path) as catalogue, Holdings(catalogue, tmp_path).loading({}) as arrangement:
        arrangement.add_records(made)
    with Catalogue.open(path) as catalogue:
        async with serving(make_app(catalogue)) as url, aiohttp.ClientSession() as session:

            async def page(start: int, size: int) -> tuple[bool, dict[str, Any]]:
                form = {"start": str(start), "size": str(size)}
                async with session.post(f"{url}/v4/getSimpleSearch", data=form) as answer:
                    return "Content-Length" in answer.headers, await answer.json()

            sizes = (100, 200, 201, 650, 9999)
            pages = {size: [await page(start, size) for start in range(0, 650, size)] for size in sizes}
            (_, beyond) = await page(9999, 10)
    found = {size: [row for _, answer in pages[size] for row in answer.pop("resultSet")] for size in sizes}
    assert [row["subjectId"] for row in found[9999]] == [f"P{number:03}" for number in range(650)]
    assert all(rows == found[9999] for rows in found.values())
    rest = {str(answer) for answers in pages.values() for _, answer in answers}
    assert len(rest) == 1
    assert (beyond["resultSet"], beyond["totalPatients"]) == ([], 650)
    assert [has_length for has_length, _ in (pages[200][0], pages[201][0], pages[9999][0])] == [True, False, False]
