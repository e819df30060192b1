"""A data commons of Gen3 as an archive: manifests name its objects, and each is sent from a signed address.

There is no search: `find` asks for the record of each object that the selection's locations name. An object is the zip
of a Series, whose instances are its entries, or one DICOM file; other objects are kept as plain files, those of one
Collection as one Series. A signed address is used until it expires, or until it is refused, and is never sent a token.

Source: the Data Repository Service of the GA4GH, version 1, and the programs of Gen3 (indexd, fence).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Final, TypeVar, cast
from urllib.parse import quote, urlsplit

from bulkdl.archive.base import Body, Capabilities, FoundSeries, Listing, Rest, SeriesQuestion
from bulkdl.archive.drs.bodies import MemberBody, WholeBody
from bulkdl.archive.drs.keys import Gen3Token, Gen3Tokens
from bulkdl.archive.drs.records import DrsRecord, read_record
from bulkdl.archive.drs.signed_urls import SignedUrl, is_of_provider, read_signed_url, rules_for
from bulkdl.archive.drs.zip_directory import (
    LOCAL_BYTES,
    TAIL_BYTES,
    EarlierBytesNeeded,
    ZipMember,
    read_directory,
)
from bulkdl.archive.http import IDENTITY, SHORT_ANSWER_BYTES, HttpClient
from bulkdl.archive.http_body import HttpBody
from bulkdl.archive.plain_archive import PlainArchive
from bulkdl.archive.private_hosts import is_private
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Request, ServiceRules
from bulkdl.errors import AccessDenied, NotFound, RequestFailed, RequestRejected, UnexpectedAnswer
from bulkdl.model.drs_objects import DrsObject, is_drs_location, location_of_objects, objects_of
from bulkdl.model.ids import SeriesUid, SopInstanceUid, derived_uid, is_uid
from bulkdl.model.records import Entry, Series, SeriesKind
from bulkdl.model.selection import Selection
from bulkdl.runtime.tasks import as_iterator, run_pool, together

CAPABILITIES: Final = Capabilities(ranges=True, lists_sop_uids=False, checksums=True, lists_checksums=True)

POLICY: Final = "https://www.cancerimagingarchive.net/nih-controlled-data-access-policy/"
_NOT_SEARCHED: Final = "a data commons is not searched: give a manifest of its objects"
_UNAUTHORIZED: Final = 401
_OBJECTS_AT_ONCE: Final = 16
_BATCH: Final = 200
_MOST_RECORD_BYTES: Final = 4 << 20
_MOST_DIRECTORY_BYTES: Final = 64 << 20
_HEAD_BYTES: Final = 1 << 18
_MOST_KEPT: Final = 20_000  # records, addresses; each some hundred bytes
_MOST_DIRECTORIES: Final = 64
_IMAGES: Final = (".dcm", ".dicom", ".ima", ".zip")

_Kept = TypeVar("_Kept")


class DrsArchive(PlainArchive):
    """See `base.Archive`. `series_of` reads a Series from the beginning of a DICOM file, None if it is not one.

    The resolver sets it: where neither the manifest nor the name of an object states its Series, only its header does.
    """

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.name = profile.name
        self.url = profile.url
        self.capabilities = CAPABILITIES
        self.retrier = http.retrier
        self.series_of: Callable[[bytes], Series | None] = lambda _: None
        self._http = http
        self._rules = rules_for(profile.url)
        self._tokens = Gen3Tokens(http.credentials.gen3_key, profile.url, self._post_key)
        http.further_secrets = lambda: self._tokens.secrets
        self._records: dict[str, DrsRecord] = {}
        self._addresses: dict[str, SignedUrl] = {}
        self._directories: dict[str, tuple[ZipMember, ...]] = {}

    @property
    def requests(self) -> int:
        """See `Archive.requests`."""
        return self._http.requests

    async def collections(self) -> tuple[str, ...]:
        """See `Archive.collections`. There is no search."""
        return ()

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        """See `Archive.collections_of_doi`."""
        del doi
        return None

    async def check(self) -> None:
        """Ask the service what it is. Raises RequestFailed: it does not answer."""
        await self._get("ga4gh/drs/v1/service-info", None)

    # --- find ---------------------------------------------------------------------------------------------------------

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """See `Archive.find`. Zips come in batches; single files once all of them are known, by Series."""
        if not selection.locations:
            yield FoundSeries(not_found=tuple(_unanswerable(selection)))
            return
        objects = list(dict.fromkeys(each for place in selection.locations for each in objects_of(place)))
        files: defaultdict[str, list[Series]] = defaultdict(list)
        for start in range(0, len(objects), _BATCH):
            found = await self._describe_all(objects[start : start + _BATCH])
            zips = [series for series in found.series if _is_of_zip(series)]
            for series in found.series:
                if not _is_of_zip(series):
                    files[series.collection if series.kind is not None else series.series_uid].append(series)
            yield replace(found, series=tuple(filter(selection.matches, zips)))
        yield FoundSeries(tuple(filter(selection.matches, map(_joined, files.values()))))

    async def _describe_all(self, objects: Sequence[DrsObject]) -> FoundSeries:
        series: dict[str, Series] = {}
        absent: list[SeriesQuestion] = []
        failed: list[tuple[SeriesQuestion, RequestFailed]] = []

        async def describe(each: DrsObject) -> None:
            question = SeriesQuestion({"object": each.uri}, each.series_uid)
            try:
                found = await self.retrier.ask(f"the record of {each.uri}", lambda _: self._describe(each))
            except NotFound as error:
                absent.append(replace(question, reason=f"the data commons has no object {each.uri}: {error}"))
            except RequestFailed as error:
                failed.append((question, error))
            else:
                series[each.uri] = found

        await run_pool(as_iterator(objects), describe, workers=_OBJECTS_AT_ONCE, name="describe")
        in_order = [series[each.uri] for each in objects if each.uri in series]
        return FoundSeries(tuple(in_order), tuple(absent), tuple(failed))

    async def _describe(self, wanted: DrsObject) -> Series:
        """The Series of an object; one of `FILES` if it is not DICOM. One attempt."""
        record = await self._record(wanted)
        known = await self._known(wanted, record) if _may_be_dicom(record.name) else None
        if known is None:
            known = Series(series_uid=SeriesUid(derived_uid(wanted.uri)), kind=SeriesKind.FILES)
        collection, patient_id = wanted.collection or known.collection, wanted.patient_id or known.patient_id
        located = replace(
            wanted, name=record.name, series_uid=known.series_uid, collection=collection, patient_id=patient_id
        )
        return replace(
            known,
            collection=collection,
            patient_id=patient_id,
            size_bytes=record.size_bytes,
            image_count=None if record.is_zip and known.kind is None else 1,
            location=location_of_objects([located]),
        )

    async def _known(self, wanted: DrsObject, record: DrsRecord) -> Series | None:
        """The Series that the manifest, the name or the header of an object states; None if it is not DICOM."""
        uid = wanted.series_uid or _series_in(record.name)
        return Series(series_uid=uid) if uid is not None else self.series_of(await self._head(wanted, record))

    async def _head(self, wanted: DrsObject, record: DrsRecord) -> bytes:
        """The beginning of an object, or of the first instance in a zip. Nothing is compared with the record."""
        if not record.is_zip:
            is_large = record.size_bytes > _HEAD_BYTES
            rest = Rest(0, record.size_bytes, None, _HEAD_BYTES) if is_large else None
            async with self._sent(wanted, record, rest) as body:
                return await _beginning(body)
        images = [member for member in await self._directory(wanted, record) if member.is_image]
        if not images:
            return b""
        async with self._opened(Entry(f"{wanted.uri}#{images[0].position}"), None) as body:
            return await _beginning(body)

    # --- list and open ------------------------------------------------------------------------------------------------

    async def list(self, series: Series) -> Listing:
        """See `Archive.list`. The entries of a zip are what its directory has, without licences and tables."""
        if not is_drs_location(series.location or ""):
            return Listing()
        objects = list(objects_of(series.location or ""))
        found: dict[str, Sequence[Entry]] = {}

        async def list_one(each: DrsObject) -> None:
            ask = self._entries if series.kind is None else self._file
            found[each.uri] = await self.retrier.ask(f"the list of {each.uri}", lambda _: ask(each))

        await together(*map(list_one, objects))
        return Listing(tuple(entry for each in objects for entry in found[each.uri]))

    async def _file(self, wanted: DrsObject) -> Sequence[Entry]:
        record = await self._record(wanted)
        name = record.name or wanted.object_id.rpartition("/")[2]
        uid = SopInstanceUid(derived_uid(f"{wanted.uri}#file"))
        return [Entry(wanted.uri, uid, record.size_bytes, record.md5, name)]

    async def _entries(self, wanted: DrsObject) -> Sequence[Entry]:
        record = await self._record(wanted)
        if not record.is_zip:
            return [Entry(wanted.uri, size_bytes=record.size_bytes, md5=record.md5)]
        return [
            Entry(f"{wanted.uri}#{member.position}", size_bytes=member.size_bytes)
            for member in await self._directory(wanted, record)
            if member.is_image
        ]

    def open(
        self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None
    ) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open`. The key of a zip opens the whole zip, which is compared with its record.

        A member of a zip is always sent whole. So is an object without an MD5, because its other checksums are compared
        while it arrives.
        """
        del series_uid
        return self._opened(entry, rest)

    @asynccontextmanager
    async def _opened(self, entry: Entry, rest: Rest | None) -> AsyncIterator[Body]:
        try:
            wanted = DrsObject.parse(entry.package or entry.key)
        except ValueError as error:
            raise RequestRejected(str(error)) from error
        record = await self._record(wanted)
        async with AsyncExitStack() as stack:

            async def reopen(more: Rest) -> Body:
                return await stack.enter_async_context(self._sent(wanted, record, more))

            if entry.position is not None:
                member = await self._member(wanted, record, entry.position)
                end = min(record.size_bytes, member.offset + LOCAL_BYTES + member.packed_bytes)
                yield MemberBody(await reopen(Rest(member.offset, record.size_bytes, None, end)), member)
            elif rest is not None and (record.md5 is not None or rest.end is not None):
                yield await reopen(rest)
            else:
                body = await stack.enter_async_context(self._sent(wanted, record, None))
                yield WholeBody(body, record, reopen if record.is_zip else None)

    def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open_bundle`. Objects are opened by their keys."""
        del study_uid
        raise RequestRejected(f"a data commons sends no bundle of series {series_uid}")

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        """See `Archive.checksum`. The list has it, where there is one."""
        del series_uid
        return entry.md5

    # --- requests; one attempt each -----------------------------------------------------------------------------------

    async def _record(self, wanted: DrsObject) -> DrsRecord:
        found = self._records.get(wanted.object_id)
        if found is None:
            content = await self._get(f"ga4gh/drs/v1/objects/{quote(wanted.object_id)}", None)
            found = _keep(self._records, wanted.object_id, read_record(content, wanted), _MOST_KEPT)
        return found

    async def _directory(self, wanted: DrsObject, record: DrsRecord) -> tuple[ZipMember, ...]:
        if (known := self._directories.get(wanted.object_id)) is not None:
            return known
        length, start = record.size_bytes, max(0, record.size_bytes - TAIL_BYTES)
        while True:
            tail = await self._tail(wanted, record, start)
            try:
                return _keep(self._directories, wanted.object_id, read_directory(tail, length), _MOST_DIRECTORIES)
            except EarlierBytesNeeded as needed:
                if needed.start >= start or length - needed.start > _MOST_DIRECTORY_BYTES:
                    raise UnexpectedAnswer("the directory of the zip is larger than is plausible") from None
                start = needed.start

    async def _tail(self, wanted: DrsObject, record: DrsRecord, start: int) -> bytes:
        """The bytes of an object from `start` on, of a server that does not know ranges, too."""
        rest = Rest(start, record.size_bytes, None, record.size_bytes) if start else None
        kept, most = bytearray(), record.size_bytes - start
        async with self._sent(wanted, record, rest) as body:
            async for chunk in body.chunks():
                kept += chunk
                if len(kept) > 2 * most + len(chunk):
                    del kept[:-most]
        tail = bytes(kept[-most:])
        if len(tail) != most or body.start + body.received != record.size_bytes:
            raise UnexpectedAnswer(f"the object has another size than its record, {record.size_bytes:,} bytes")
        return tail

    async def _member(self, wanted: DrsObject, record: DrsRecord, position: int) -> ZipMember:
        members = await self._directory(wanted, record)
        if not 0 < position <= len(members):
            raise NotFound(f"{wanted.uri} has no member {position}")
        return members[position - 1]

    @asynccontextmanager
    async def _sent(self, wanted: DrsObject, record: DrsRecord, rest: Rest | None) -> AsyncIterator[HttpBody]:
        """The object, or the `rest` of it, from a signed address. One that is refused may have expired: get another."""
        async with AsyncExitStack() as stack:
            known = self._addresses.get(wanted.object_id)
            if known is not None and known.is_good(time.time()):
                try:
                    body = await stack.enter_async_context(self._requested(known, rest))
                except AccessDenied:
                    del self._addresses[wanted.object_id]
                else:
                    yield body
                    return
            address = await self._signed(wanted, record)
            yield await stack.enter_async_context(self._requested(address, rest))

    def _requested(self, address: SignedUrl, rest: Rest | None) -> AbstractAsyncContextManager[HttpBody]:
        client = self._http.at(address.origin)
        client.further_secrets = lambda: address.secrets
        return client.open(Request("object", "", rules=self._rules, address=address.url), headers=IDENTITY, rest=rest)

    async def _signed(self, wanted: DrsObject, record: DrsRecord) -> SignedUrl:
        """A new address of an object, by the first way to it that the archive knows."""
        path = f"ga4gh/drs/v1/objects/{quote(wanted.object_id)}/access"
        paths = [f"{path}/{quote(access_id)}" for access_id in record.access_ids]
        content = await self._first_answer(paths or [f"user/data/download/{quote(wanted.object_id)}"])
        address = read_signed_url(content, self.url, time.time())
        await self._check_name(address)
        return _keep(self._addresses, wanted.object_id, address, _MOST_KEPT)

    async def _first_answer(self, paths: Sequence[str]) -> bytes:
        """The answer of the first path that the archive knows."""
        for path in paths[:-1]:
            with suppress(NotFound):
                return await self._ask(path)
        return await self._ask(paths[-1])

    async def _check_name(self, address: SignedUrl) -> None:
        """Raises UnexpectedAnswer: the name of the host leads to a private network, which the address does not show."""
        host = urlsplit(address.url).hostname or ""
        if host == urlsplit(self.url).hostname or is_of_provider(host):
            return
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None)
        except OSError:
            return  # a proxy may know it; else the request fails
        if any(is_private(str(entry[4][0])) for entry in found):
            raise UnexpectedAnswer(
                f"the archive gave an address that is not requested: {host!r} is on a private network"
            )

    async def _ask(self, path: str) -> bytes:
        """Ask the archive with a token, if there is a key; once more with a new one, if it is refused."""
        token = await self._tokens.current()
        try:
            return await self._get(path, token)
        except AccessDenied as error:
            is_old = error.status == _UNAUTHORIZED and token is not None
            token = await self._tokens.renewed(token) if is_old and token is not None else None
            if token is None:
                raise self._explained(error) from error
        try:
            return await self._get(path, token)
        except AccessDenied as error:
            self._tokens.new_one_refused()
            raise self._explained(error) from error

    def _explained(self, error: AccessDenied) -> AccessDenied:
        if self._tokens.has_key:
            hint = f"the account of the key may not have this object; see {POLICY}"
        else:
            hint = (
                f"this needs the key of an account with an approval: create one at {self.url} (Profile) and give it "
                f"with --gen3-credentials; see {POLICY}"
            )
        return AccessDenied(f"{error}; {hint}", status=error.status)

    async def _get(self, path: str, token: Gen3Token | None) -> bytes:
        headers = {"Authorization": f"Bearer {token.value}"} if token is not None else {}
        async with self._http.open(Request(path, path), headers={**IDENTITY, **headers}) as body:
            return await body.read(_MOST_RECORD_BYTES)

    async def _post_key(self, path: str, key: str) -> bytes:
        request = Request("key", path, form=(("api_key", key),), rules=_NOWHERE_ELSE)
        _, content = await self._http.read_once(request, at_most=SHORT_ANSWER_BYTES)
        return content


_NOWHERE_ELSE: Final = ServiceRules(lambda *_: None, lambda *_: False, "If-Range")
"""The rules of a request that must not be redirected, because it carries a key."""


def _keep(kept: dict[str, _Kept], name: str, value: _Kept, most: int) -> _Kept:
    """Keep a value, and forget the oldest one where there are too many."""
    kept.pop(name, None)
    if len(kept) >= most:
        del kept[next(iter(kept))]
    kept[name] = value
    return value


def _unanswerable(selection: Selection) -> Iterable[SeriesQuestion]:
    for uid in selection.series:
        yield SeriesQuestion({"series_uid": uid}, uid, _NOT_SEARCHED)
    if not selection.series:
        narrowest, values = selection.narrowest() or ("", ())
        yield SeriesQuestion({narrowest: ", ".join(values)} if narrowest else {}, reason=_NOT_SEARCHED)


def _may_be_dicom(name: str) -> bool:
    """Whether an object of this name may be DICOM: its suffix is that of images, or it has none, or it is a UID."""
    stem, dot, ending = name.rpartition(".")
    return name.casefold().endswith(_IMAGES) or not (dot and stem) or ending.isdecimal()


def _series_in(name: str) -> SeriesUid | None:
    stem = name[: -len(".zip")] if name.casefold().endswith(".zip") else ""
    return SeriesUid(stem) if is_uid(stem) and "." in stem else None


def _is_of_zip(series: Series) -> bool:
    return series.image_count is None


def _joined(files: Sequence[Series]) -> Series:
    """One Series of single files. Files that are not DICOM are one Series for each Collection of a manifest."""
    of_all = "".join(sorted(each.series_uid for each in files))
    uid = (
        files[0].series_uid if files[0].kind is None else SeriesUid(derived_uid(f"drs:{files[0].collection}:{of_all}"))
    )
    return replace(
        files[0],
        series_uid=uid,
        patient_id=files[0].patient_id if files[0].kind is None else "",
        image_count=len(files),
        size_bytes=sum(each.size_bytes or 0 for each in files),
        location=" ".join(each.location or "" for each in files),
    )


async def _beginning(body: Body) -> bytes:
    content, chunks = bytearray(), cast("AsyncGenerator[bytes, None]", body.chunks())
    async with aclosing(chunks):  # before its end
        async for chunk in chunks:
            content += chunk
            if len(content) >= _HEAD_BYTES:
                break
    return bytes(content)
