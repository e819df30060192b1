"""What every archive does, whatever it is made of: find, list and open, with the capabilities that it states."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bulkdl.archive import aiohttp_transport
from bulkdl.archive.base import Archive, Body, BundleForm, Rest
from bulkdl.archive.connect import connect
from bulkdl.archive.dicomweb.multipart import MultipartReader
from bulkdl.archive.profiles import Profile, find_profile
from bulkdl.archive.transports import open_transport
from bulkdl.errors import RequestFailed
from bulkdl.model.access import Access, Credentials
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Entry, Series
from bulkdl.model.selection import Selection
from bulkdl.resolve.object_heads import read_head
from bulkdl.store.bundles import BundleReader
from bulkdl.verbs.connections.data_commons import read_headers
from bulkdl.verbs.serve import serve_async
from tests.contract.archives import FORMS, plain_server
from tests.support import variants
from tests.support.archives import TRANSPORT, found_series, make_retrier
from tests.support.bucket_server import bucket_server, write_index_of
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.dicomweb_server import dicomweb_server
from tests.support.faults import CERTIFICATE, IS_TLS, over_tls
from tests.support.gen3_server import CommonsObject, Gen3Server, zip_of_series
from tests.support.pathdb_server import pathdb_server

REST = {"nbia-v1": "nbia-api/services", "nbia-v2": "nbia-api/services", "nbia-v4": "nbia-api/services"}
REST["tcia-v3"] = "services/v3/TCIA"
KINDS = (*REST, *FORMS, "idc", "pathdb", "dicomweb")
AIOHTTP, TLS = " by aiohttp", " over TLS"  # `make matrix` runs every kind in every way
FURTHER = (f"keys{AIOHTTP}", f"idc{TLS}", f"multipart{AIOHTTP}{TLS}")
COMMONS = ("drs-files", "drs-zips")
EVERYTHING_MADE_UP = Selection(collections=("MADE-UP",))
UNKNOWN = SeriesUid("1.2.3")


@dataclass(frozen=True)
class Opened:
    """An archive, and what it serves."""

    archive: Archive
    made_up: list[MadeUp]
    selection: Selection = EVERYTHING_MADE_UP

    def of_series(self, series_uid: str) -> list[MadeUp]:
        return [one for one in self.made_up if one.series_uid == series_uid]

    async def series(self) -> list[Series]:
        return await found_series(self.archive, self.selection)


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Opened]:
    """The archive of a kind, by the transport and with the TLS that `kind` names; see `opened_kind`."""
    transport = aiohttp_transport.open_transport if AIOHTTP in kind else open_transport
    before = TRANSPORT.set(transport)
    try:
        with over_tls(variants.IS_TLS or TLS in kind):
            async with opened_kind(kind.removesuffix(TLS).removesuffix(AIOHTTP), folder) as it:
                yield it
    finally:
        TRANSPORT.reset(before)


def connected(profile: Profile, credentials: Credentials | None = None) -> AbstractAsyncContextManager[Archive]:
    """A connection to the archive of `profile`, by the transport under test."""
    bundle = str(CERTIFICATE) if IS_TLS.get() else None
    access = Access(credentials=credentials or Credentials(), ca_bundle=bundle)
    return connect(profile, make_retrier(max_attempts=2), access=access, open_transport=TRANSPORT.get())


@asynccontextmanager
async def opened_kind(kind: str, folder: Path) -> AsyncIterator[Opened]:
    """The archive of a kind with three Series of two instances; of slides, which are one Series each, with six."""
    made_up = list(instances(series=3, per_series=2))
    if kind in FORMS:
        async with (
            plain_server(made_up) as server,
            connected(find_profile(f"{kind}+{server.url}", forms=FORMS)) as archive,
        ):
            yield Opened(archive, made_up)
        return
    if kind == "pathdb":
        async with (
            pathdb_server() as slides,
            connected(find_profile(f"pathdb+{slides.url}")) as archive,
        ):
            yield Opened(archive, slides.made_up)
        return
    if kind == "dicomweb":
        async with (
            dicomweb_server(made_up, serves_bare=False, closes=True) as web,
            connected(find_profile(f"dicomweb+{web.url}")) as archive,
        ):
            yield Opened(archive, made_up)
        return
    if kind in COMMONS:
        async with data_commons(made_up, packed=kind == "drs-zips") as it:
            yield it
        return
    if kind == "idc":
        index = write_index_of(folder / "index", made_up)
        async with bucket_server(made_up) as bucket:
            profile = replace(find_profile(f"idc+{bucket.url}"), index=str(index))
            async with connected(profile) as archive:
                yield Opened(archive, made_up)
        return
    write_folder(folder / "dicom", iter(made_up))
    certificate = CERTIFICATE if IS_TLS.get() else None
    async with serve_async(folder / "dicom", cache=folder / "cache", tls_cert=certificate) as served:
        profile = find_profile(f"{kind}+{served.url.partition('/nbia-api')[0].rstrip('/')}/{REST[kind]}")
        async with connected(profile, Credentials(api_key="any")) as archive:
            yield Opened(archive, made_up)


@asynccontextmanager
async def data_commons(made_up: list[MadeUp], *, packed: bool) -> AsyncIterator[Opened]:
    """A data commons with one object for each instance, or for each Series. It is not searched."""
    groups = {uid: [one for one in made_up if one.series_uid == uid] for uid in {one.series_uid for one in made_up}}
    files = {f"{one.sop_uid}.dcm": one.content for one in made_up}
    zips = {f"{uid}.zip": zip_of_series(of_series) for uid, of_series in groups.items()}
    objects = [CommonsObject(name, content) for name, content in (zips if packed else files).items()]
    async with Gen3Server(objects) as server:
        profile = find_profile(f"drs+{server.url}")
        async with connected(profile, Credentials(gen3_key=server.key)) as archive:
            read_headers(profile, archive)
            places = tuple(f"{server.uri(each.name)}#collection=MADE-UP" for each in objects)
            yield Opened(archive, made_up, Selection(locations=places))


searched_kind = pytest.mark.parametrize("kind", [*KINDS, *FURTHER])
every_kind = pytest.mark.parametrize("kind", [*KINDS, *COMMONS, *FURTHER])


async def received(body: Body) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


@searched_kind
async def test_find_yields_every_series_that_matches(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        found = {series.series_uid: series for series in await it.series()}
        assert found.keys() == {one.series_uid for one in it.made_up}
        for series in found.values():
            (first, *_) = it.of_series(series.series_uid)
            assert (series.collection, series.patient_id) == (first.collection, first.patient_id)
            assert series.study_uid == (None if kind == "pathdb" else first.study_uid)


@searched_kind
async def test_find_filters_by_every_criterion(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        one = it.made_up[0]
        selection = Selection(collections=("made-up",), series=(one.series_uid,), modalities=("CT",))
        assert [series.series_uid for series in await found_series(it.archive, selection)] == [one.series_uid]
        assert await found_series(it.archive, Selection(collections=("MADE-UP",), modalities=("MR",))) == []


@searched_kind
async def test_find_of_everything_asks_for_every_collection(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        assert await it.archive.collections() == ("MADE-UP",)
        assert len(await found_series(it.archive, Selection(everything=True))) == len(await it.series())


@searched_kind
async def test_find_may_be_left_early(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        async with aclosing(it.archive.find(Selection(collections=("MADE-UP",)))) as batches:
            await anext(batches)
        assert it.archive.retrier.permits.in_use == 0


@every_kind
async def test_list_gives_each_entry_once_with_what_the_capabilities_promise(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        (series, *_) = await it.series()
        first, second = (await it.archive.list(series)).entries, (await it.archive.list(series)).entries
        assert first == second
        assert len({entry.key for entry in first}) == len(first) == len(it.of_series(series.series_uid))
        held = {one.sop_uid: one for one in it.of_series(series.series_uid)}
        if it.archive.capabilities.lists_sop_uids:
            assert {entry.sop_uid for entry in first} == held.keys()
        else:
            assert {entry.sop_uid for entry in first} == {None}


@every_kind
async def test_an_unknown_series_has_no_entries(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        assert (await it.archive.list(Series(series_uid=UNKNOWN))).entries == ()


@every_kind
async def test_open_sends_the_bytes_of_the_entry(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        for series in await it.series():
            contents = {one.content for one in it.of_series(series.series_uid)}
            for entry in (await it.archive.list(series)).entries:
                async with it.archive.open(series.series_uid, entry) as body:
                    content = await received(body)
                    assert (body.start, body.is_part) == (0, False)
                    assert body.length in {None, len(content)}
                    assert entry.size_bytes in {None, len(content)}
                contents.remove(content)
            assert contents == set()


@every_kind
async def test_open_of_an_unknown_entry_fails_as_a_request(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        with pytest.raises(RequestFailed):
            async with it.archive.open(UNKNOWN, Entry("1.2.3.4", SopInstanceUid("1.2.3.4"))):
                pass


@every_kind
async def test_a_body_may_be_left_early(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        (series, *_) = await it.series()
        (entry, *_) = (await it.archive.list(series)).entries
        for _ in range(3):
            async with it.archive.open(series.series_uid, entry) as body:
                await anext(aiter(body.chunks()))


@every_kind
async def test_the_rest_of_an_entry_is_sent_or_the_whole(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        (series, *_) = await it.series()
        (entry, *_) = (await it.archive.list(series)).entries
        async with it.archive.open(series.series_uid, entry) as body:
            whole, validator = await received(body), body.validator
        rest = Rest(100, len(whole), validator or '"unknown"')
        async with it.archive.open(series.series_uid, entry, rest=rest) as body:
            assert body.start in {0, 100}
            assert body.is_part == (body.start == 100)
            assert await received(body) == whole[body.start :]


@every_kind
async def test_the_head_of_an_entry_is_its_beginning(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        (series, *_) = await it.series()
        (entry, *_) = (await it.archive.list(series)).entries
        async with it.archive.open(series.series_uid, entry) as body:
            whole = await received(body)
        for each in (entry, replace(entry, size_bytes=None)):
            for at_most in (200, 1 << 24):
                assert await read_head(it.archive, series, each, at_most=at_most) == whole[:at_most]


@every_kind
async def test_a_bundle_has_every_instance_of_its_series(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        (series, *_) = await it.series()
        form = it.archive.capabilities.bundle
        if form is None:
            return
        async with it.archive.open_bundle(series.series_uid, study_uid=series.study_uid) as body:
            content = await received(body)
            kind_of_body = body.headers.get("Content-Type", "")
        reader = BundleReader() if form is BundleForm.ZIP else MultipartReader(kind_of_body)
        unpacked = b"".join(bytes(event.data) for event in reader.feed(content) if hasattr(event, "data"))
        list(reader.close())
        assert all(one.content in unpacked for one in it.of_series(series.series_uid))


@every_kind
async def test_checksums_are_those_of_the_bytes(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        (series, *_) = await it.series()
        (entry, *_) = (await it.archive.list(series)).entries
        async with it.archive.open(series.series_uid, entry) as body:
            digest = hashlib.md5(await received(body), usedforsecurity=False).digest()
        if entry.package is not None:
            return  # the checksum is that of the package
        found = await it.archive.checksum(series.series_uid, entry)
        assert found == (digest if it.archive.capabilities.checksums else None)
        is_known = await it.archive.series_checksum(series.series_uid) is not None
        assert is_known == it.archive.capabilities.series_checksums


@every_kind
async def test_sizes_are_right_or_unknown(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        (series, *_) = await it.series()
        size = await it.archive.size(series.series_uid)
        contents = [one.content for one in it.of_series(series.series_uid)]
        assert size.image_count in {None, len(contents)}
        assert size.size_bytes in {None, sum(map(len, contents))}


@every_kind
async def test_requests_are_counted(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as it:
        before = it.archive.requests
        for series in await it.series():
            await it.archive.list(series)
        assert it.archive.requests > before
