"""Two archives as one, over real sockets: each Series comes from the right one, and what neither has is explained."""

from __future__ import annotations

import json as jsons
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.archive.connect import capabilities, connect
from bulkdl.archive.profiles import find_profile
from bulkdl.archive.routed import RoutedArchive, part_of, parts_of, source_of
from bulkdl.errors import ArchiveUnreachable, ConfigurationError
from bulkdl.model.access import ArchiveChoice, Route
from bulkdl.model.events import Event, Noted
from bulkdl.model.records import Series
from bulkdl.model.reports.base import RunOutcome
from tests.support.archives import make_retrier
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of
from tests.support.bucket_server import BUCKET, BucketServer, Stored, bucket_server, key_of, rows_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, json
from tests.support.idc_index import prior_row, write_index
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = sorted(instances(series=3, per_series=2, collection="LUNG-ONE"), key=lambda one: one.series_uid)
UIDS = list(dict.fromkeys(one.series_uid for one in MADE_UP))
BOTH, IDC_ALONE, NBIA_ALONE = UIDS
AT_IDC = [one for one in MADE_UP if one.series_uid != NBIA_ALONE]
AT_NBIA = [one for one in MADE_UP if one.series_uid != IDC_ALONE]
EVERY_ROUTE = {
    "idc-first": {BOTH: "idc", IDC_ALONE: "idc", NBIA_ALONE: "nbia"},
    "nbia-first": {BOTH: "nbia", IDC_ALONE: "idc", NBIA_ALONE: "nbia"},
    "idc": {BOTH: "idc", IDC_ALONE: "idc"},
    "nbia": {BOTH: "nbia", NBIA_ALONE: "nbia"},
}


@dataclass(frozen=True)
class World:
    """A bucket with its index and an NBIA, and the ways to reach them as `tcia`."""

    bucket: BucketServer
    nbia: BadArchive
    folder: Path

    def choice(self, route: str = "idc-first") -> ArchiveChoice:
        profiles = {"idc": f"idc+{self.bucket.url}", "nbia": self.nbia.address}
        index, cache = self.folder / "index", self.folder / "cache"
        return bulkdl.reach("tcia", profiles=profiles, idc_index=index, cache=cache, route=route)

    @property
    def nbia_objects(self) -> int:
        return self.nbia.object_requests()


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    prior = [prior_row(9, 3, SeriesInstanceUID=NBIA_ALONE), prior_row(9, 2)]
    write_index(folder / "index", rows_of(AT_IDC), prior=prior, names={"lung_one": "LUNG-ONE"})
    async with AsyncExitStack() as stack:
        bucket = await stack.enter_async_context(bucket_server(AT_IDC))
        nbia = await stack.enter_async_context(BadArchive(AT_NBIA))
        yield World(bucket, nbia, folder)


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


@pytest.mark.parametrize("named", [False, True], ids=["by collection", "by UID"])
@pytest.mark.parametrize("route", EVERY_ROUTE)
async def test_each_series_comes_from_where_the_route_says(both: World, route: str, *, named: bool) -> None:
    wanted = bulkdl.select(series=list(EVERY_ROUTE[route])) if named else bulkdl.select(collection="LUNG-ONE")
    report = await bulkdl.plan_async(wanted, archive=both.choice(route), settings=QUICK)
    expected = list(EVERY_ROUTE[route].values())
    assert report.sources == {name: expected.count(name) for name in set(expected)}
    assert report.as_json()["sources"] == report.sources
    assert sorted(report.series_uids) == sorted(EVERY_ROUTE[route])
    assert report.failures == ()


@pytest.mark.parametrize("route", ["idc-first", "nbia-first"])
async def test_a_mirror_is_complete_and_asks_for_nothing_twice(both: World, route: str, tmp_path: Path) -> None:
    choice = both.choice(route)
    first = await bulkdl.mirror_async(collection="lung one", to=tmp_path / "m", archive=choice, settings=QUICK)
    assert (first.outcome, first.failures, first.sources["idc"] + first.sources["nbia"]) == (RunOutcome.COMPLETE, (), 3)
    assert checksums_on_disk(tmp_path / "m") == checksums_of(MADE_UP)
    from_idc, from_nbia = len(both.bucket.gets), both.nbia_objects
    assert from_idc == 2 * first.sources["idc"]
    assert from_nbia == 2 * first.sources["nbia"]
    again = await bulkdl.mirror_async(collection="lung one", to=tmp_path / "m", archive=choice, settings=QUICK)
    assert (again.instances.fetched, again.instances.reused) == (0, 6)
    assert (len(both.bucket.gets), both.nbia_objects) == (from_idc, from_nbia)


async def test_a_list_of_the_bucket_is_compared_with_the_index(both: World, tmp_path: Path) -> None:
    one = next(made for made in AT_IDC if made.series_uid == IDC_ALONE)
    del both.bucket.buckets[BUCKET][key_of(one)]
    wanted = bulkdl.select(collection="LUNG-ONE")
    report = await bulkdl.mirror_async(wanted, to=tmp_path / "m", archive=both.choice(), settings=QUICK)
    (failure,) = report.failures
    assert (report.outcome, failure.series, failure.error) == (RunOutcome.PARTIAL, IDC_ALONE, "short-at-source")
    assert "the index says" in failure.message


async def test_verify_remote_compares_a_series_with_where_it_comes_from(both: World, tmp_path: Path) -> None:
    choice = both.choice()
    wanted = bulkdl.select(series=[BOTH, IDC_ALONE])
    await bulkdl.mirror_async(wanted, to=tmp_path / "m", archive=choice, settings=QUICK)
    whole = await bulkdl.verify_async(tmp_path / "m", remote=True, archive=choice, settings=QUICK)
    assert (whole.series_compared, whole.problems) == (2, ())
    one = next(made for made in AT_IDC if made.series_uid == IDC_ALONE)
    both.bucket.buckets[BUCKET][key_of(one)] = Stored(one.content + b"?")
    report = await bulkdl.verify_async(tmp_path / "m", remote=True, archive=choice, settings=QUICK)
    assert [problem.series for problem in report.problems] == [IDC_ALONE]


async def test_resume_knows_the_source_of_each_entry(both: World, tmp_path: Path) -> None:
    choice = both.choice()
    await bulkdl.mirror_async(collection="lung one", to=tmp_path / "m", archive=choice, settings=QUICK)
    for path in (tmp_path / "m" / "LUNG-ONE").rglob("*.dcm"):
        path.unlink()
    report = await bulkdl.resume_async(tmp_path / "m", archive=choice, settings=QUICK)
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 6)
    assert checksums_on_disk(tmp_path / "m") == checksums_of(MADE_UP)


async def test_nbia_is_not_asked_for_what_idc_has(both: World) -> None:
    report = await bulkdl.plan_async(series=[BOTH, IDC_ALONE], archive=both.choice(), settings=QUICK)
    assert report.sources == {"idc": 2}
    assert both.nbia.server.requests == []


async def test_a_name_of_idc_is_that_of_tcia_at_nbia(both: World) -> None:
    report = await bulkdl.plan_async(collection="lung_one", archive=both.choice(), settings=QUICK)
    assert report.sources == {"idc": 2, "nbia": 1}
    assert {seen.query.get("Collection") for seen in both.nbia.asked("getSeries")} == {"LUNG-ONE"}


async def test_a_withdrawn_series_is_used_where_nbia_does_not_have_it(both: World) -> None:
    wanted = bulkdl.select(series=[NBIA_ALONE, "1.2.3.9"])
    report = await bulkdl.plan_async(wanted, archive=both.choice(), settings=QUICK)
    assert (report.sources, report.withdrawn) == ({"idc": 1, "nbia": 1}, 1)


async def test_what_neither_has_is_explained(both: World) -> None:
    of_tcia, other = "1.3.6.1.4.1.14519.5.2.1.7777.1", "1.2.840.99"
    wanted = bulkdl.select(series=[BOTH, of_tcia, other])
    report = await bulkdl.plan_async(wanted, archive=both.choice(), settings=QUICK)
    said = {failure.series: failure.message for failure in report.failures}
    assert said.keys() == {of_tcia, other}
    assert "may be of controlled access now: https://www.cancerimagingarchive.net/" in said[of_tcia]
    assert said[other] == "neither IDC, in any release, nor NBIA has this series"


async def test_only_what_neither_has_is_missing(both: World) -> None:
    wanted = bulkdl.select(collection=["LUNG-ONE", "LUNG-TWO"], modality=["CT", "XX"])
    report = await bulkdl.plan_async(wanted, archive=both.choice(), settings=QUICK)
    assert [failure.message for failure in report.failures] == ["the archive has no series for collection LUNG-TWO"]


@pytest.mark.parametrize("route", ["idc-first", "nbia-first"])
async def test_an_nbia_that_is_down_does_not_hold_up_idc(both: World, route: str, tmp_path: Path) -> None:
    await both.nbia.server.go_away()
    settings = bulkdl.FetchSettings(give_up_after_seconds=3, wait_scale=0.01, workers=1)
    report = await bulkdl.mirror_async(
        collection="LUNG-ONE", to=tmp_path / "m", archive=both.choice(route), settings=settings
    )
    assert (report.outcome, report.sources) == (RunOutcome.PARTIAL, {"idc": 2})
    assert checksums_on_disk(tmp_path / "m") == checksums_of(AT_IDC)
    (failure,) = report.failures
    assert "what IDC does not have is not known" in failure.message


async def test_collections_are_those_of_both(both: World) -> None:
    async with opened(both.choice()) as archive:
        assert await archive.collections() == ("LUNG-ONE",)
        assert await archive.collections_of_doi("10.7937/K9/TCIA.2099.ONE") == ("10.7937/K9/TCIA.2099.ONE",)


async def test_parts_are_known_by_keys_and_places(both: World) -> None:
    async with opened(both.choice()) as archive:
        assert parts_of(archive) == (archive.idc, archive.nbia)
        assert parts_of(archive.nbia) == (archive.nbia,)
        assert part_of(archive, "bucket/series/instance.dcm") is archive.idc
        assert part_of(archive, BOTH) is part_of(archive.nbia, "a/b") is archive.nbia
        assert source_of(archive, Series(series_uid=BOTH, location="bucket/series")) == "idc"
        assert source_of(archive, Series(series_uid=BOTH)) == "nbia"
        assert source_of(archive.nbia, Series(series_uid=BOTH)) is None


@asynccontextmanager
async def opened(choice: ArchiveChoice) -> AsyncIterator[RoutedArchive]:
    profile = find_profile(choice.name, choice.profiles)
    profile = profile.using(index=choice.idc_index, cache=choice.cache, route=Route.IDC_FIRST)
    async with connect(profile, make_retrier()) as archive:
        assert isinstance(archive, RoutedArchive)
        yield archive


def test_tcia_is_the_route_of_two_profiles_that_may_be_defined_anew() -> None:
    profile = find_profile("tcia")
    assert [part.name for part in profile.parts] == ["idc", "nbia"]
    assert profile.url == profile.with_endpoints.url == "https://nbia.cancerimagingarchive.net/nbia-api/services/"
    anew = find_profile("tcia", {"nbia": "nbia-v1+http://lab/nbia-api/services", "idc": "idc-gcs+http://gcs"})
    assert [(part.url, part.kind) for part in anew.parts] == [
        ("http://gcs/", "idc-gcs"),
        ("http://lab/nbia-api/services/", "nbia-v1"),
    ]
    assert anew.url == "http://lab/nbia-api/services/"
    assert capabilities(profile).takes_login
    at_home = find_profile("routed+http://lab/nbia-api/services")
    assert (at_home.parts[1].url, at_home.parts[1].kind) == ("http://lab/nbia-api/services/", "nbia-v4")
    assert find_profile(at_home.name) == at_home


async def test_a_route_between_other_kinds_is_refused() -> None:
    profile = find_profile("tcia", {"idc": "http://lab/nbia-api/services"})
    with pytest.raises(ConfigurationError, match="tcia routes from idc to nbia"):
        async with connect(profile, make_retrier()):
            pass


@pytest.mark.parametrize("routes", [("nbia", "idc-first"), ("idc-first", "nbia-first")], ids=" to ".join)
async def test_a_series_that_changes_its_source_is_not_downloaded_again(
    both: World, routes: tuple[str, str], tmp_path: Path
) -> None:
    wanted = bulkdl.select(series=[BOTH])
    first, second = routes
    await bulkdl.mirror_async(wanted, to=tmp_path / "m", archive=both.choice(first), settings=QUICK)
    report = await bulkdl.mirror_async(wanted, to=tmp_path / "m", archive=both.choice(second), settings=QUICK)
    assert report.outcome is RunOutcome.COMPLETE
    assert (report.instances.fetched, report.instances.reused) == (0, 2)
    assert len(both.bucket.gets) + both.nbia_objects == 2
    resumed = await bulkdl.resume_async(tmp_path / "m", archive=both.choice(second), settings=QUICK)
    assert (resumed.instances.fetched, resumed.instances.reused) == (0, 2)
    assert (await bulkdl.verify_async(tmp_path / "m")).problems == ()


@pytest.mark.parametrize("route", ["idc-first", "nbia-first"])
async def test_a_shared_list_of_nbia_is_routed_series_by_series(both: World, route: str) -> None:
    rows = [row for uid in (BOTH, NBIA_ALONE) for row in both.nbia.rows_of({"SeriesInstanceUID": uid})]

    answers = {"getContentsByName": rows, "getSeriesSize": [{"TotalSizeInBytes": 10, "ObjectCount": 2}]}

    def shared(seen: Seen) -> Action | None:
        return json(jsons.dumps(answers[name])) if (name := endpoint_of(seen)) in answers else None

    both.nbia.fault = shared
    report = await bulkdl.plan_async(shared_list="mine", archive=both.choice(route), settings=QUICK)
    assert report.sources == ({"idc": 1, "nbia": 1} if route == "idc-first" else {"nbia": 2})
    assert sorted(report.series_uids) == sorted([BOTH, NBIA_ALONE])


async def test_without_the_index_everything_comes_from_nbia(both: World, tmp_path: Path) -> None:
    choice = replace(both.choice(), idc_index="http://127.0.0.1:9/index/", cache=tmp_path / "empty")
    events: list[Event] = []
    settings = replace(QUICK, give_up_after_seconds=0.2)
    report = await bulkdl.plan_async(collection="LUNG-ONE", archive=choice, settings=settings, sink=events.append)
    assert report.sources == {"nbia": 2}
    assert ["what NBIA does not have is not known" in failure.message for failure in report.failures] == [True]
    notes = [event.message for event in events if isinstance(event, Noted)]
    assert [note for note in notes if note.startswith("everything comes from NBIA")]
    with pytest.raises(ArchiveUnreachable):
        await bulkdl.plan_async(collection="LUNG-ONE", archive=replace(choice, route=Route.IDC), settings=settings)


async def test_names_are_those_of_idc_where_nbia_is_down(both: World) -> None:
    await both.nbia.server.go_away()
    settings = replace(QUICK, give_up_after_seconds=0.2)
    report = await bulkdl.plan_async("lung one", archive=both.choice("idc"), settings=settings)
    assert report.sources == {"idc": 2}
    routed = await bulkdl.plan_async("lung one", archive=both.choice(), settings=settings)
    assert routed.sources == {"idc": 2}
    assert routed.series.failed == 1
