"""Buckets against a server that misbehaves: what a list and an object are, and how each failure is named."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bulkdl.archive.base import Archive, Listing, Rest
from bulkdl.archive.idc.bucket import follows, md5_of_tag, read_error, read_page
from bulkdl.errors import (
    AccessDenied,
    ArchiveUnreachable,
    NotFound,
    RequestFailed,
    RequestRejected,
    ServerFailed,
    TooManyRequests,
    UnexpectedAnswer,
)
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, Series
from tests.support.archives import opened, samples
from tests.support.bucket_server import (
    BUCKET,
    XML,
    BucketServer,
    Stored,
    bucket_server,
    list_xml,
    part_of,
    s3_error,
    uuid_of,
)
from tests.support.faults import Action, FaultyServer, Seen, answer, cut, redirect

ANSWERS = Path(__file__).parents[2] / "data" / "answers"
FOLDER = uuid_of("folder")
SERIES = SeriesUid("1.2.3")
CONTENT = b"\0" * 128 + b"DICM" + b"x" * 5_000

Fault = Callable[[Seen], "Action | None"]


def key(number: int, folder: str = FOLDER) -> str:
    return f"{folder}/{uuid_of('file', number)}.dcm"


def objects(count: int) -> dict[str, Stored]:
    return {key(number): Stored(b"%d" % number) for number in range(count)}


@asynccontextmanager
async def at(
    stored: Mapping[str, Stored],
    *,
    fault: Fault = lambda _: None,
    page_keys: int = 1_000,
    notes: list[str] | None = None,
    max_attempts: int = 1,
) -> AsyncIterator[tuple[Archive, BucketServer]]:
    """The archive of a bucket with these objects, and its server."""
    running = BucketServer({BUCKET: stored}, fault=fault, page_keys=page_keys)
    async with (
        running.server,
        opened(running.url, kind="idc", notes=notes, max_attempts=max_attempts) as archive,
    ):
        yield archive, running


async def listed(archive: Archive, *, expected: int | None = None, location: str = f"{BUCKET}/{FOLDER}") -> Listing:
    return await archive.list(Series(series_uid=SERIES, location=location, image_count=expected))


async def fetched(archive: Archive, entry: Entry, rest: Rest | None = None) -> bytes:
    async with archive.open(SERIES, entry, rest=rest) as body:
        return b"".join([chunk async for chunk in body.chunks()])


def entry_of(stored: Stored, name: str = key(0)) -> Entry:
    return Entry(f"{BUCKET}/{name}", size_bytes=len(stored.content), md5=md5_of_tag(stored.etag))


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_a_list_gives_keys_sizes_and_checksums_in_order() -> None:
    stored = objects(3)
    async with at(stored) as (archive, server):
        listing = await listed(archive)
    assert listing.invalid_rows == 0
    assert [entry.key for entry in listing.entries] == [f"{BUCKET}/{name}" for name in sorted(stored)]
    for entry in listing.entries:
        content = stored[entry.key.removeprefix(f"{BUCKET}/")].content
        assert (entry.sop_uid, entry.size_bytes) == (None, len(content))
        assert entry.md5 == hashlib.md5(content, usedforsecurity=False).digest()
    (seen,) = server.lists
    assert seen.query == {"list-type": "2", "prefix": f"{FOLDER}/", "max-keys": "1000"}
    assert "authorization" not in seen.headers


@pytest.mark.parametrize(("count", "page_keys", "requests"), [(7, 3, 3), (6, 3, 2), (1, 1, 1), (0, 3, 1)])
async def test_pages_are_followed(count: int, page_keys: int, requests: int) -> None:
    async with at(objects(count), page_keys=page_keys) as (archive, server):
        assert len((await listed(archive)).entries) == count
        assert len(server.lists) == requests


@pytest.mark.parametrize(("expected", "parts"), [(2_000, 1), (2_001, 2), (12_000, 4), (92_000, 16)])
async def test_a_large_series_is_listed_in_parallel_parts(expected: int, parts: int) -> None:
    stored = objects(200)
    async with at(stored) as (archive, server):
        listing = await listed(archive, expected=expected)
    assert [entry.key for entry in listing.entries] == [f"{BUCKET}/{name}" for name in sorted(stored)]
    starts = sorted(seen.query.get("start-after", "") for seen in server.lists)
    assert starts == ["", *(f"{FOLDER}/{16 * part // parts:x}" for part in range(1, parts))]


async def test_a_server_that_ignores_where_a_list_starts_gives_each_key_once() -> None:
    stored = objects(50)

    def fault(seen: Seen) -> Action | None:
        if "start-after" not in seen.query:
            return None
        page = [(name, stored[name]) for name in sorted(stored)]
        return answer(list_xml(BUCKET, f"{FOLDER}/", page), headers=XML)

    async with at(stored, fault=fault) as (archive, _):
        listing = await listed(archive, expected=3_000)
    assert [entry.key for entry in listing.entries] == [f"{BUCKET}/{name}" for name in sorted(stored)]


async def test_markers_are_skipped_and_odd_keys_counted_and_named() -> None:
    odd = {f"{FOLDER}/README.txt": Stored(b"?"), f"{FOLDER}/../x.dcm": Stored(b"?"), f"{FOLDER}/a/": Stored(b"full")}
    stored = {**objects(2), f"{FOLDER}/": Stored(b""), **odd}
    notes: list[str] = []
    async with at(stored, notes=notes) as (archive, _):
        listing = await listed(archive)
    assert (len(listing.entries), listing.invalid_rows) == (2, 3)
    assert f"{BUCKET}/{FOLDER}/README.txt is not the key of an instance" in notes
    assert len(notes) == 3


async def test_a_folder_that_does_not_exist_is_empty() -> None:
    async with at(objects(1)) as (archive, _):
        assert (await listed(archive, location=f"{BUCKET}/{uuid_of('other')}")).entries == ()


@pytest.mark.parametrize("location", ["bucket", "b/../etc", f"B_/{FOLDER}", f"{BUCKET}/{FOLDER}/", f"x/y/{FOLDER}"])
async def test_a_place_that_is_not_a_folder_is_not_requested(location: str) -> None:
    async with at({}) as (archive, server):
        with pytest.raises(RequestRejected, match="not the place of a series"):
            await listed(archive, location=location)
        assert server.server.requests == []


def page(*names: str, following: str | None = None, prefix: str = f"{FOLDER}/") -> bytes:
    return list_xml(BUCKET, prefix, [(name, Stored(b"x")) for name in names], following)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a list"),
        (b"[]", "not a list"),
        (b"<html/>", "the element html"),
        (page(key(0))[:-9], "invalid XML"),
        (page(key(0), prefix="other/"), "another folder"),
        (page("other/" + key(0)), "another folder"),
        (page(key(0)).replace(b"<Size>1<", b"<Size>-1<"), "not a number"),
        (page(key(0)).replace(b"<Size>1<", b"<Size>1</Size><Size>2<"), "2 elements Size"),
        (page(key(0)).replace(b"false", b"perhaps"), "perhaps"),
        (page(key(0)).replace(b"false", b"true"), "0 elements NextContinuationToken"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + page(key(0)).partition(b"\n")[2], "invalid XML"),
        (b"\xff\xfe" + page(key(0)), "invalid XML"),
    ],
)
async def test_what_is_not_a_list_is_a_failure(content: bytes, message: str) -> None:
    async with at({}, fault=lambda _: answer(content, headers=XML)) as (archive, _):
        with pytest.raises(UnexpectedAnswer, match=message):
            await listed(archive)


async def test_a_list_that_is_cut_is_requested_again() -> None:
    whole = page(key(0))

    def fault(seen: Seen) -> Action | None:
        return {1: cut(whole, after=100), 2: answer(whole[:-30], headers=XML)}.get(seen.ordinal)

    async with at(objects(1), fault=fault, max_attempts=3) as (archive, server):
        assert len((await listed(archive)).entries) == 1
        assert len(server.lists) == 3


def never_ending(seen: Seen) -> Action:
    number = int(seen.query.get("continuation-token", "0"))
    name = f"{FOLDER}/{number:08x}-0000-4000-8000-000000000000.dcm"
    return answer(page(name, following=str(number + 1)), headers=XML)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (never_ending, "does not end"),
        (lambda seen: answer(page(following=str(seen.number)), headers=XML), "repeats its pages"),
        (lambda _: answer(page(key(0), following="again"), headers=XML), "repeats its keys"),
        (lambda _: answer(page(*sorted([key(0), key(1)], reverse=True)), headers=XML), "not in their order"),
        (lambda _: answer(page(key(0), key(0)), headers=XML), "repeats its keys"),
        (lambda _: answer(page(following="same"), headers=XML), "repeats its pages"),
    ],
    ids=["never ends", "empty pages", "same page", "order", "same key", "same token"],
)
async def test_a_list_that_leads_nowhere_is_a_failure(fault: Fault, message: str) -> None:
    async with at({}, fault=fault) as (archive, server):
        with pytest.raises(UnexpectedAnswer, match=message):
            await listed(archive)
        assert len(server.lists) <= 1_000


# --- documented answers -----------------------------------------------------------------------------------------------


def test_the_documented_list_of_s3_is_read() -> None:
    found = read_page((ANSWERS / "s3_list.xml").read_bytes(), "0b5e6c1a-3f2d-4c77-9a10-5d2e8f6b4c01/")
    assert found.following == "1UeD+mo/To4kEn=="
    assert [(each.size_bytes, md5_of_tag(each.tag) is not None) for each in found.objects] == [
        (0, True),
        (526328, True),
        (5368709640, False),
    ]


def test_the_documented_empty_list_is_read() -> None:
    found = read_page((ANSWERS / "s3_list_empty.xml").read_bytes(), "ffffffff-0000-4000-8000-000000000000/")
    assert (found.objects, found.following) == ((), None)


def test_the_documented_list_of_google_is_read() -> None:
    (each,) = read_page((ANSWERS / "gcs_list.xml").read_bytes(), "0b5e6c1a-3f2d-4c77-9a10-5d2e8f6b4c01/").objects
    assert (each.size_bytes, each.tag) == (526328, '"3b1f0a7c5d2e49868aa0c1d2e3f40516"')


@pytest.mark.parametrize(
    ("name", "status", "kind", "message"),
    [
        ("s3_error", 503, TooManyRequests, "503 SlowDown: Demo: fewer requests, please. (request DEMO0123456789AB)"),
        (
            "s3_error_no_such_key",
            404,
            NotFound,
            "404 NoSuchKey: Demo: there is no such key. (request DEMO0123456789AC)",
        ),
    ],
)
def test_the_documented_errors_are_read(name: str, status: int, kind: type[Exception], message: str) -> None:
    error = read_error(status, {}, (ANSWERS / f"{name}.xml").read_bytes())
    assert (type(error), str(error)) == (kind, f"the archive answered {message}")


@pytest.mark.parametrize(
    ("tag", "is_md5"),
    [
        ('"d41d8cd98f00b204e9800998ecf8427e"', True),
        ("d41d8cd98f00b204e9800998ecf8427e", True),
        ('"D41D8CD98F00B204E9800998ECF8427E"', True),
        ('"d41d8cd98f00b204e9800998ecf8427e-2"', False),
        ('W/"d41d8cd98f00b204e9800998ecf8427e"', False),
        ('"CJjR9eWs1IgDEAE="', False),
        ("", False),
    ],
)
def test_an_entity_tag_is_an_md5_or_not(tag: str, *, is_md5: bool) -> None:
    expected = bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e") if is_md5 else None
    assert md5_of_tag(tag) == expected


# --- objects ----------------------------------------------------------------------------------------------------------


async def test_an_object_is_sent_as_it_is_stored() -> None:
    stored = Stored(CONTENT)
    async with at({key(0): stored}) as (archive, server):
        async with archive.open(SERIES, entry_of(stored)) as body:
            assert (body.validator, body.length) == (stored.etag, len(CONTENT))
            assert b"".join([chunk async for chunk in body.chunks()]) == CONTENT
        (seen,) = server.gets
    assert seen.target == f"/{BUCKET}/{key(0)}"
    assert seen.headers["accept-encoding"] == "identity"
    assert "authorization" not in seen.headers


async def test_the_rest_of_an_object_is_bound_to_its_tag() -> None:
    stored = Stored(CONTENT)
    async with at({key(0): stored}) as (archive, server):
        rest = Rest(1_000, len(CONTENT), stored.etag)
        assert await fetched(archive, entry_of(stored), rest) == CONTENT[1_000:]
        middle = Rest(1_000, len(CONTENT), stored.etag, end=1_500)
        assert await fetched(archive, entry_of(stored), middle) == CONTENT[1_000:1_500]
        assert await fetched(archive, entry_of(stored), Rest(0, len(CONTENT), None, end=10)) == CONTENT[:10]
    assert [(seen.headers["range"], seen.headers.get("if-match")) for seen in server.gets] == [
        ("bytes=1000-", stored.etag),
        ("bytes=1000-1499", stored.etag),
        ("bytes=0-9", None),
    ]


async def test_the_rest_of_a_changed_object_is_refused() -> None:
    stored = Stored(CONTENT)
    async with at({key(0): stored}) as (archive, _):
        with pytest.raises(RequestRejected, match="412 PreconditionFailed"):
            await fetched(archive, entry_of(stored), Rest(10, len(CONTENT), '"other"'))


@pytest.mark.parametrize("change", ["size", "tag"])
async def test_an_object_that_is_not_the_listed_one_is_not_received(change: str) -> None:
    stored = Stored(CONTENT)
    other = Stored(CONTENT + b"?", stored.etag) if change == "size" else Stored(CONTENT[:-1] + b"?")
    async with at({key(0): other}) as (archive, _):
        with pytest.raises(UnexpectedAnswer, match=r"it has changed \(request REQUEST01\)"):
            await fetched(archive, entry_of(stored))


async def test_a_failure_names_the_request() -> None:
    headers = {"x-amz-request-id": "CUT01"}
    async with at({}, fault=lambda _: cut(CONTENT, after=100, headers=headers)) as (archive, _):
        with pytest.raises(RequestFailed, match=r"\(request CUT01\)"):
            await fetched(archive, Entry(f"{BUCKET}/{key(0)}"))


@pytest.mark.parametrize("name", ["x", f"{BUCKET}/../{key(0)}", f"{BUCKET}/{key(0)}?x", f"{BUCKET}/{FOLDER}/x.dcm"])
async def test_a_key_that_is_not_an_instance_is_not_requested(name: str) -> None:
    async with at({}) as (archive, server):
        with pytest.raises(RequestRejected, match="not the key of an instance"):
            await fetched(archive, Entry(name))
        assert server.server.requests == []


async def test_google_has_other_names_for_some_buckets() -> None:
    stored = Stored(CONTENT)
    running = BucketServer({"idc-open-cr": {key(0): stored}})
    async with running.server, opened(running.url, kind="idc-gcs") as archive:
        listing = await listed(archive, location=f"idc-open-data-cr/{FOLDER}")
        assert [entry.key for entry in listing.entries] == [f"idc-open-data-cr/{key(0)}"]
        assert await fetched(archive, listing.entries[0]) == CONTENT


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", AccessDenied),
        (401, "AccessDenied", AccessDenied),
        (403, "AllAccessDisabled", AccessDenied),
        (404, "NoSuchKey", NotFound),
        (404, "NoSuchBucket", ArchiveUnreachable),
        (400, "InvalidArgument", RequestRejected),
        (400, "RequestTimeout", ServerFailed),
        (403, "RequestTimeTooSkewed", ServerFailed),
        (405, "MethodNotAllowed", RequestRejected),
        (412, "PreconditionFailed", RequestRejected),
        (416, "InvalidRange", RequestRejected),
        (500, "InternalError", ServerFailed),
        (503, "SlowDown", TooManyRequests),
        (503, "ServiceUnavailable", ServerFailed),
        (429, "TooManyRequests", TooManyRequests),
        (301, "PermanentRedirect", UnexpectedAnswer),
    ],
)
async def test_each_code_is_one_kind_of_failure(status: int, code: str, kind: type[Exception]) -> None:
    async with at({}, fault=lambda _: s3_error(status, code, "Please,\nless.")) as (archive, _):
        with pytest.raises(kind) as caught:
            await fetched(archive, Entry(f"{BUCKET}/{key(0)}"))
        with pytest.raises(kind):
            await listed(archive)
    assert type(caught.value) is kind
    assert str(caught.value) == f"the archive answered {status} {code}: Please, less. (request REQUEST01)"


async def test_a_refusal_to_all_slows_the_archive_down() -> None:
    async with at({}, fault=lambda _: s3_error(503, "SlowDown")) as (archive, _):
        with pytest.raises(TooManyRequests):
            await listed(archive)
        assert [sample.refused for sample in samples(archive)] == [True]


async def test_a_page_instead_of_an_error_is_not_an_answer() -> None:
    async with at({}, fault=lambda _: answer(b"<html>not here</html>", status=404)) as (archive, _):
        with pytest.raises(RequestRejected, match="a page instead of an answer"):
            await listed(archive)


async def test_names_a_bucket_that_cannot_be_reached() -> None:
    async with opened("http://127.0.0.1:9/", kind="idc") as archive:
        with pytest.raises(ArchiveUnreachable, match=r"127\.0\.0\.1"):
            await listed(archive)


# --- redirects --------------------------------------------------------------------------------------------------------

S3 = "https://s3.amazonaws.com/idc-open-data/a/b.dcm"
GOOGLE = "https://storage.googleapis.com/idc-open-data/a/b.dcm"


@pytest.mark.parametrize(
    ("before", "after", "is_followed"),
    [
        (S3, "https://s3.us-east-1.amazonaws.com/idc-open-data/a/b.dcm", True),
        (S3, "https://idc-open-data.s3.us-east-1.amazonaws.com/a/b.dcm", True),
        (S3, "https://idc-open-data.s3-us-west-2.amazonaws.com/a/b.dcm", True),
        (S3, "https://s3.dualstack.us-east-1.amazonaws.com/idc-open-data/a/b.dcm", True),
        (S3, "https://other.s3.amazonaws.com/a/b.dcm", False),
        (S3, "https://s3.amazonaws.com/idc-open-data/a/c.dcm", False),
        (S3, "https://ec2-1-2-3-4.compute-1.amazonaws.com/idc-open-data/a/b.dcm", False),
        (S3, "https://s3.amazonaws.com.example.org/idc-open-data/a/b.dcm", False),
        (S3, GOOGLE, False),
        (GOOGLE, "https://idc-open-data.storage.googleapis.com/a/b.dcm", True),
        (GOOGLE, S3, False),
        ("http://lab:9000/b/k", "http://lab:9000/b/k?x=1", True),
        ("http://lab:9000/b/k", "http://lab:9001/b/k", False),
        ("http://lab:9000/b/k", "http://lab:9000/c/k", False),
    ],
)
def test_redirects_stay_in_the_bucket(before: str, after: str, *, is_followed: bool) -> None:
    assert follows(before, after) == is_followed


async def test_a_redirect_out_of_the_bucket_is_not_followed() -> None:
    async with FaultyServer(lambda seen: part_of(Stored(CONTENT), seen)) as other:
        async with at({}, fault=lambda _: redirect(f"{other.url}{BUCKET}/{key(0)}", status=307)) as (archive, _):
            with pytest.raises(UnexpectedAnswer, match="not followed"):
                await fetched(archive, Entry(f"{BUCKET}/{key(0)}"))
        assert other.requests == []


async def test_a_redirect_within_the_bucket_is_followed() -> None:
    def fault(seen: Seen) -> Action | None:
        return redirect(f"{seen.path}?again=1", status=307) if seen.target == seen.path else None

    stored = Stored(CONTENT)
    async with at({key(0): stored}, fault=fault) as (archive, _):
        assert await fetched(archive, entry_of(stored)) == CONTENT


async def test_many_objects_do_not_fill_the_memory_of_addresses() -> None:
    stored = objects(300)
    async with at(stored) as (archive, server):
        for entry in (await listed(archive)).entries:
            await fetched(archive, entry)
        assert len(server.gets) == 300


async def test_instances_of_a_bucket_server_are_listed() -> None:
    async with bucket_server([]) as running, opened(running.url, kind="idc") as archive:
        assert (await listed(archive)).entries == ()
