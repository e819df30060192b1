"""One table joins what the sources say; each is asked once a day, and its last answer is used where it is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bulkdl.errors import ArchiveUnreachable, ConfigurationError
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.data_sets import DataSet, SourceReport, find_data_sets, join
from bulkdl.model.events import Event, Noted, ignore
from bulkdl.verbs.connections.reach import reach
from bulkdl.verbs.data_sets.known_data_sets import Asking, open_sources
from tests.support.bad_archive import BadArchive, endpoint_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Exchange, FaultyServer, Seen, answer
from tests.support.faults import json as json_answer
from tests.support.idc_index import series_row, write_index
from tests.support.made_up_services import MadeUpServices, collection, doi, made_up_services

NOWHERE = "http://127.0.0.1:9/"  # nothing is asked there
LUNG = "10.7937/k9/tcia.2099.one"
ROWS = [series_row(1), series_row(2, PatientID="P2"), series_row(3, collection_id="brain_two", source_DOI="10.7937/B")]


@asynccontextmanager
async def described() -> AsyncIterator[MadeUpServices]:
    """Services that know both Collections of the index, in other spellings, and one that it does not have."""
    dois = [doi(LUNG.upper(), "Lung One", titles=[{"title": "Lungs"}]), doi("10.7937/new", "NEW", version="3")]
    faces = {"download_title": "Faces", "data_license": "NIH Controlled Data Access", "download_url": "https://a.b/x"}
    collections = [
        collection("Lung-One", subjects="99", species=["Human"], collection_downloads=[faces]),
        collection("NEW", collection_doi="10.7937/NEW", subjects="7", link="https://a.b/new"),
        collection("STAGED", hide_from_browse_table="1"),
    ]
    async with made_up_services(dois=dois, collections=collections) as services:
        yield services


def idc(folder: Path, services: MadeUpServices | None) -> ArchiveChoice:
    """IDC with a small index; nothing is asked of its bucket."""
    index = folder / "index"
    if not index.exists():
        write_index(index, ROWS, names={"lung_one": "Lung-One", "brain_two": "Brain-Two"})
    profiles = services.profiles if services is not None else {}
    return reach(f"idc+{NOWHERE}", cache=folder / "cache", idc_index=index, profiles=profiles)


async def table(
    choice: ArchiveChoice, asking: Asking = Asking.IF_OLD
) -> tuple[dict[str, DataSet], dict[str, SourceReport], list[str]]:
    """The data sets by name, the reports by source, and the notes."""
    events: list[Event] = []
    async with open_sources(choice, events.append, None, asking) as sources:
        found = await sources.data_sets()
    notes = [event.message for event in events if isinstance(event, Noted)]
    return {each.name: each for each in found}, {each.source: each for each in sources.reports}, notes


def make_old(cache: Path, *sources: str) -> None:
    """Let the kept answers of some sources be of the year 2020."""
    for path in (cache / "answers").glob("*.json"):
        document = json.loads(path.read_text())
        if document["source"] in sources:
            path.write_text(json.dumps({**document, "time": "2020-01-02T03:04:05+00:00"}))


async def test_what_the_sources_know_is_joined_by_name_and_doi(tmp_path: Path) -> None:
    async with described() as services:
        found, reports, notes = await table(idc(tmp_path, services))
    assert list(found) == ["Brain-Two", "Lung-One", "NEW"]
    lung, new = found["Lung-One"], found["NEW"]
    assert (lung.patients, lung.series, lung.instances) == (2, 2, 20)  # of the index, not of the page
    assert (lung.title, lung.species, lung.doi) == ("Lungs", ("Human",), LUNG)
    assert [each.title for each in lung.downloads] == ["Faces"]
    assert lung.sources == ("idc", "collection-manager", "datacite")
    assert (new.in_archive, new.series, new.patients, new.version) == (False, None, 7, "3")
    assert notes == []
    assert {name: (each.data_sets, each.is_current) for name, each in reports.items()} == {
        "idc": (2, True),
        "datacite": (2, True),
        "collection-manager": (2, True),
    }


def test_names_of_one_source_that_are_alike_stay_apart() -> None:
    archive = [
        DataSet(name=name, in_archive=True, series=number) for number, name in enumerate(("a-b", "A_B", "--", "-"))
    ]
    page = [DataSet(name="A B", title="T"), DataSet(name="AB", title="U")]
    found = join(archive, page)
    assert [(each.name, each.series, each.title) for each in found] == [
        ("-", 3, None),
        ("--", 2, None),
        ("a-b", 0, "T"),
        ("A_B", 1, None),
        ("AB", None, "U"),
    ]
    assert [each.name for each in find_data_sets(found, "A_B")] == ["A_B"]
    assert [each.name for each in find_data_sets(found, "a.b")] == ["a-b", "A_B", "AB"]


async def test_sources_are_asked_once_a_day_and_again_if_wanted(tmp_path: Path) -> None:
    async with described() as services:
        first, _, _ = await table(idc(tmp_path, services))
        asked = len(services.server.requests)
        again, reports, _ = await table(idc(tmp_path, services))
        assert (again, len(services.server.requests)) == (first, asked)
        assert all(each.is_current for each in reports.values())
        await table(idc(tmp_path, services), Asking.ALWAYS)
        assert len(services.server.requests) == 2 * asked


async def test_the_last_answer_is_used_where_a_service_is_away_and_its_age_is_said(tmp_path: Path) -> None:
    async with described() as services:
        first, _, _ = await table(idc(tmp_path, services))
        make_old(tmp_path / "cache", "datacite")
        services.is_away = True
        found, reports, notes = await table(idc(tmp_path, services))
    assert found == first
    report = reports["datacite"]
    assert (report.is_current, report.data_sets, report.time and report.time.year) == (False, 2, 2020)
    assert report.error
    (note,) = notes
    assert note.startswith("datacite: its answer of 2020-01-02 03:04 UTC is used: ")


async def test_the_index_is_enough_where_nothing_else_answers(tmp_path: Path) -> None:
    async with described() as services:
        profiles = services.profiles
    choice = reach(f"idc+{NOWHERE}", cache=tmp_path, idc_index=idc(tmp_path, None).idc_index, profiles=profiles)
    found, reports, notes = await table(choice)
    assert list(found) == ["Brain-Two", "Lung-One"]
    assert reports["datacite"].time is None
    assert len(notes) == 2


async def test_without_requests_the_index_and_the_last_answers_are_used(tmp_path: Path) -> None:
    async with described() as services:
        found, _, notes = await table(idc(tmp_path, services), Asking.NEVER)
        assert (list(found), notes, services.server.requests) == (["Brain-Two", "Lung-One"], [], [])
        await table(idc(tmp_path, services))
        make_old(tmp_path / "cache", "datacite", "collection-manager")
        asked = len(services.server.requests)
        found, _, notes = await table(idc(tmp_path, services), Asking.NEVER)
        assert (list(found), len(services.server.requests)) == (["Brain-Two", "Lung-One", "NEW"], asked)
        assert len(notes) == 2
    with pytest.raises(ConfigurationError, match="offline"):
        await table(reach("nbia-v1+http://127.0.0.1:9/nbia-api/services", cache=tmp_path), Asking.NEVER)


async def test_a_changed_index_is_read_again(tmp_path: Path) -> None:
    await table(idc(tmp_path, None))
    write_index(tmp_path / "index", [*ROWS, series_row(4, collection_id="third")])
    found, _, _ = await table(idc(tmp_path, None))
    assert "third" in found


async def test_a_source_that_is_slow_is_named_while_it_is_waited_for(tmp_path: Path) -> None:
    said, notes = asyncio.Event(), list[str]()

    def sink(event: Event) -> None:
        if isinstance(event, Noted):
            notes.append(event.message)
            said.set()

    async with described() as services:
        right = services.answer

        def slow(seen: Seen) -> Action:
            async def act(exchange: Exchange) -> None:
                await said.wait()
                await right(seen)(exchange)

            return act

        services.server.script = slow
        async with open_sources(idc(tmp_path, services), sink, None, Asking.IF_OLD) as sources:
            sources.slow_seconds = 0.0
            found = await sources.data_sets()
    assert "NEW" in {each.name for each in found}
    assert "datacite, collection-manager; --offline" in notes[0]


# --- archives without an index ----------------------------------------------------------------------------------------


async def test_the_series_of_a_small_archive_are_added_up(tmp_path: Path) -> None:
    made = [*instances(series=2, per_series=3, collection="LUNG"), *instances(series=1, per_series=1, collection="ONE")]
    rows = [{"PatientID": one.patient_id, "Collection": one.collection} for one in made]

    def patients(seen: Seen) -> Action | None:
        return json_answer(json.dumps(rows)) if endpoint_of(seen) == "getPatient" else None

    async with BadArchive(made, patients) as archive:
        found, _, _ = await table(reach(archive.address, cache=tmp_path))
        asked = [endpoint_of(seen) for seen in archive.server.requests]
    assert {name: (each.series, each.instances, each.patients) for name, each in found.items()} == {
        "LUNG": (2, 6, 1),
        "ONE": (1, 1, 1),
    }
    assert asked.count("getSeries") == 2


async def test_sums_that_would_be_too_small_are_left_out(tmp_path: Path) -> None:
    made = list(instances(series=1, per_series=1, collection="LUNG"))

    def fault(seen: Seen) -> Action | None:
        if endpoint_of(seen) == "getPatient":
            return json_answer('[{"PatientID": "P1", "Collection": "LUNG"}, {"PatientID": "P2", "Collection": "ONE"}]')
        if endpoint_of(seen) == "getCollectionValues":
            return json_answer('[{"Collection": "LUNG"}, {"Collection": "ONE"}]')
        return answer(b"no", status=500) if seen.query.get("Collection") == "ONE" else None

    async with BadArchive(made, fault) as archive:
        found, _, _ = await table(reach(archive.address, cache=tmp_path))
    assert {name: (each.patients, each.series) for name, each in found.items()} == {"LUNG": (1, None), "ONE": (1, None)}


def nbia(rows: Sequence[dict[str, Any]], *, endpoint: str, status: int = 200) -> Any:
    """An NBIA that answers one endpoint with some rows, or refuses it, and that has one Collection."""

    def script(seen: Seen) -> Action:
        if endpoint_of(seen) == endpoint:
            return json_answer(json.dumps(rows)) if status == 200 else answer(b"no", status=status)
        if endpoint_of(seen) == "getCollectionValues":
            return json_answer('[{"Collection": "LARGE"}]')
        return answer(b"unexpected", status=500)

    return FaultyServer(script)


async def test_of_a_large_archive_patients_alone_are_counted_in_one_request(tmp_path: Path) -> None:
    async with nbia([{"Collection": "LARGE", "Count": 5000}], endpoint="getCollectionValuesAndCounts") as server:
        found, _, _ = await table(reach(f"nbia-v4+{server.url}nbia-api/services", cache=tmp_path))
        assert len(server.requests) == 1
    assert (found["LARGE"].patients, found["LARGE"].series) == (5000, None)


async def test_an_archive_that_refuses_to_count_has_names(tmp_path: Path) -> None:
    async with nbia([], endpoint="getPatient", status=400) as server:
        found, _, _ = await table(reach(f"nbia-v1+{server.url}nbia-api/services", cache=tmp_path))
    assert (list(found), found["LARGE"].patients) == (["LARGE"], None)


async def test_an_archive_that_is_away_is_known_by_its_last_answer(tmp_path: Path) -> None:
    async with BadArchive(list(instances(series=1, per_series=1))) as archive:
        choice = reach(archive.address, cache=tmp_path)
        first, _, _ = await table(choice)
    make_old(tmp_path, "nbia")
    found, reports, notes = await table(choice)
    assert (found, reports["nbia"].is_current, len(notes)) == (first, False, 1)
    with pytest.raises(ArchiveUnreachable):
        await table(reach(archive.address, cache=tmp_path / "other"))


async def test_a_routed_archive_has_the_collections_of_both(tmp_path: Path) -> None:
    made = list(instances(series=1, per_series=1, collection="ELSEWHERE"))
    index = idc(tmp_path, None).idc_index
    async with BadArchive(made) as archive:
        profiles = {"idc": f"idc+{NOWHERE}", "nbia": archive.address}
        choice = reach("tcia", profiles=profiles, idc_index=index, cache=tmp_path / "cache")
        found, reports, _ = await table(choice)
        alone, _, _ = await table(reach("tcia", profiles=profiles, idc_index=index, cache=tmp_path, route="idc"))
    assert list(found) == ["Brain-Two", "ELSEWHERE", "Lung-One"]
    assert list(reports) == ["idc", "nbia"]
    assert list(alone) == ["Brain-Two", "Lung-One"]


async def test_an_unknown_archive_is_an_error() -> None:
    with pytest.raises(ConfigurationError):
        async with open_sources(reach("nowhere"), ignore, None, Asking.NEVER):
            pass
