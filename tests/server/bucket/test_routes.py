"""The bucket over real sockets: objects, ranges, conditions, errors; and s5cmd as a client."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from yarl import URL

from bulkdl.model.ids import stable_uuid
from tests.server.bucket.conftest import ServedBucket, key_of, texts
from tests.support.dicom_files import instances

S5CMD = shutil.which("s5cmd", path=str(Path(sys.executable).parent))
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
ANOTHER = '"00000000000000000000000000000000"'


async def test_sends_each_instance_with_its_md5_as_etag(bucket: ServedBucket) -> None:
    for made in bucket.made:
        answer = await bucket.ask(key_of(made))
        assert (answer.status, answer.body) == (200, made.content)
        assert answer.headers["ETag"] == f'"{hashlib.md5(made.content, usedforsecurity=False).hexdigest()}"'
        assert answer.headers["Content-Length"] == str(len(made.content))
        assert answer.headers["Accept-Ranges"] == "bytes"


async def test_head_is_answered_as_get_without_a_body(bucket: ServedBucket) -> None:
    for made in (bucket.made[0], bucket.made[-1]):
        sent, asked = await bucket.ask(key_of(made)), await bucket.ask(key_of(made), method="HEAD")
        assert (asked.status, asked.body) == (200, b"")
        assert [asked.headers[name] for name in ("ETag", "Content-Length", "Last-Modified")] == [
            sent.headers[name] for name in ("ETag", "Content-Length", "Last-Modified")
        ]


@pytest.mark.parametrize("place", [0, -1], ids=["small", "large"])
@pytest.mark.parametrize(
    ("wanted", "part"),
    [("bytes=10-19", slice(10, 20)), ("bytes=100-", slice(100, None)), ("bytes=-7", slice(-7, None))],
)
async def test_sends_a_range(bucket: ServedBucket, place: int, wanted: str, part: slice) -> None:
    made = bucket.made[place]
    answer = await bucket.ask(key_of(made), headers={"Range": wanted})
    start, stop, _ = part.indices(len(made.content))
    assert (answer.status, answer.body) == (206, made.content[part])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(made.content)}"


async def test_a_range_after_the_end_is_an_error(bucket: ServedBucket) -> None:
    made = bucket.made[0]
    answer = await bucket.ask(key_of(made), headers={"Range": "bytes=999999999-"})
    assert (answer.status, texts(answer.body, "Code")) == (416, ["InvalidRange"])
    assert answer.headers["Content-Range"] == f"bytes */{len(made.content)}"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/other?list-type=2", {}),
        ("/other/a%20key", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}),
        ("/other/key", {"User-Agent": "aws-sdk-go/1.44.256 (go1.21; linux; amd64) S3Manager"}),
        ("/other/key", {"amz-sdk-invocation-id": "1"}),
        ("/other", {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}),
    ],
    ids=["list", "header", "agent", "invocation", "signature"],
)
async def test_another_bucket_does_not_exist_for_clients_of_s3(
    bucket: ServedBucket, path: str, headers: dict[str, str]
) -> None:
    answer = await bucket.server.ask(path, headers=headers)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/xml")
    assert (texts(answer.body, "Code"), texts(answer.body, "BucketName")) == (["NoSuchBucket"], ["other"])
    asked = await bucket.server.ask(path, headers=headers, method="HEAD")
    assert (asked.status, asked.body, asked.headers["Content-Type"]) == (404, b"", "application/xml")


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
SIGNATURE = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("", {"Accept": "application/xml"}),
        ("", {"Accept": "*/*", "Authorization": SIGNATURE}),
        ("", {"Accept": "*/*", "amz-sdk-invocation-id": "1"}),
        ("", {"Accept": "*/*", "User-Agent": "aws-sdk-go/1.44.256 (go1.21; linux; amd64)"}),
        ("?x-id=ListBuckets", {"Accept": "*/*"}),
        ("?X-Amz-Algorithm=AWS4-HMAC-SHA256", {"Accept": BROWSER}),
        ("?AWSAccessKeyId=a&Expires=1&Signature=b", {"Accept": BROWSER}),
    ],
    ids=["nothing", "xml", "signature", "invocation", "agent", "operation", "signed address", "version 2"],
)
async def test_a_client_of_s3_gets_the_list_of_buckets(
    bucket: ServedBucket, query: str, headers: dict[str, str]
) -> None:
    before = datetime.now(UTC) - timedelta(minutes=10)
    status, sent, body = await ask_root(bucket, "GET", query, headers)
    assert (status, sent["Content-Type"]) == (200, "application/xml")
    assert (ET.fromstring(body).tag, texts(body, "Name")) == (f"{{{NAMESPACE}}}ListAllMyBucketsResult", ["bulkdl"])  # noqa: S314 - made by our own server
    (made,) = map(datetime.fromisoformat, texts(body, "CreationDate"))
    assert before <= made <= datetime.now(UTC)
    status, asked, body = await ask_root(bucket, "HEAD", query, headers)
    assert (status, asked["Content-Type"], body) == (200, "application/xml", b"")
    status, _, body = await ask_root(bucket, "PUT", query, headers)
    assert (status, texts(body, "Code")) == (405, ["MethodNotAllowed"])


@pytest.mark.parametrize("accept", [BROWSER, "*/*", "text/html", "application/xml, text/html"])
async def test_a_browser_gets_the_first_page(bucket: ServedBucket, accept: str) -> None:
    for method in ("GET", "HEAD"):
        status, headers, body = await ask_root(bucket, method, "", {"Accept": accept})
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert body.startswith(b"<!doctype html>") is (method == "GET")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("prefix=bulk", ["bulkdl"]),
        ("prefix=bulkdl-2", []),
        ("bucket-region=us-east-1", ["bulkdl"]),
        ("bucket-region=eu-west-1", []),
        ("max-buckets=1", ["bulkdl"]),
    ],
)
async def test_the_list_of_buckets_is_that_of_the_prefix_and_the_region(
    bucket: ServedBucket, query: str, names: list[str]
) -> None:
    status, _, body = await ask_root(bucket, "GET", f"?{query}", {})
    assert (status, texts(body, "Name"), texts(body, "Owner")) == (200, names, [""])


async def ask_root(
    bucket: ServedBucket, method: str, query: str, headers: dict[str, str]
) -> tuple[int, Mapping[str, str], bytes]:
    """Ask for `/` with these headers alone."""
    url = URL(f"{bucket.server.origin}/{query}", encoded=True)
    skipped = ("Accept", "User-Agent")
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, skip_auto_headers=skipped) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


async def test_a_browser_gets_a_page_for_what_does_not_exist(bucket: ServedBucket) -> None:
    answer = await bucket.server.ask("/other/key", headers={"User-Agent": "Mozilla/5.0"})
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (404, "text/html")


OLD, NEW = "Mon, 01 Jan 2001 00:00:00 GMT", "Mon, 01 Jan 2080 00:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": "ETAG"}, 200),
        ({"If-Match": f"{ANOTHER}, ETAG"}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": ANOTHER}, 412),
        ({"If-Match": "ETAG", "If-Unmodified-Since": OLD}, 200),
        ({"If-Unmodified-Since": OLD}, 412),
        ({"If-Unmodified-Since": NEW}, 200),
        ({"If-None-Match": "ETAG"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": ANOTHER}, 200),
        ({"If-None-Match": ANOTHER, "If-Modified-Since": NEW}, 200),
        ({"If-Modified-Since": NEW}, 304),
        ({"If-Modified-Since": OLD}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": ANOTHER, "Range": "bytes=5-9"}, 412),
        ({"If-Match": "ETAG", "Range": "bytes=5-9"}, 206),
        ({"If-Range": "ETAG", "Range": "bytes=5-9"}, 206),
        ({"If-Range": ANOTHER, "Range": "bytes=5-9"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_holds_to_conditions(bucket: ServedBucket, method: str, headers: dict[str, str], status: int) -> None:
    made = bucket.made[0]
    etag = f'"{hashlib.md5(made.content, usedforsecurity=False).hexdigest()}"'
    sent = {name: value.replace("ETAG", etag) for name, value in headers.items()}
    answer = await bucket.ask(key_of(made), method=method, headers=sent)
    assert answer.status == status
    if status == 412 and method == "GET":
        assert texts(answer.body, "Code") == ["PreconditionFailed"]
    if status == 304:
        assert (answer.body, answer.headers["ETag"]) == (b"", etag)


@pytest.mark.parametrize(
    "key",
    [
        "nothing",
        "index/",
        "..%2F..%2Fetc%2Fpasswd",
        f"{stable_uuid('1.2.3')}/{stable_uuid('1.2.3.4')}.dcm",
        f"{stable_uuid('1.2.3')}/",
        "\x00<&>",
        "a" * 4000,
    ],
)
async def test_an_unknown_key_is_an_error(bucket: ServedBucket, key: str) -> None:
    answer = await bucket.ask(key)
    assert (answer.status, texts(answer.body, "Code")) == (404, ["NoSuchKey"])
    assert (await bucket.ask(key, method="HEAD")).body == b""


async def test_a_restricted_collection_does_not_exist(bucket: ServedBucket) -> None:
    for made in instances(series=1, per_series=2, collection="SECRET"):
        assert (await bucket.ask(key_of(made))).status == 404
        assert texts((await bucket.page(prefix=f"{stable_uuid(made.series_uid)}/")).body, "KeyCount") == ["0"]
    listed = texts((await bucket.page()).body, "Key")
    assert [key for key in listed if not key.startswith("index/")] == bucket.keys


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
@pytest.mark.parametrize("key", ["", "new.dcm"])
async def test_nothing_can_be_written(bucket: ServedBucket, method: str, key: str) -> None:
    answer = await bucket.ask(key, method=method, data=b"content")
    assert (answer.status, texts(answer.body, "Code")) == (405, ["MethodNotAllowed"])


@pytest.mark.parametrize("resource", ["acl", "policy", "versioning", "uploads"])
async def test_other_resources_are_not_taken_for_listings(bucket: ServedBucket, resource: str) -> None:
    answer = await bucket.ask(params={resource: ""})
    assert (answer.status, texts(answer.body, "Code")) == (501, ["NotImplemented"])


async def test_says_where_the_bucket_is(bucket: ServedBucket) -> None:
    answer = await bucket.server.ask("/bulkdl?location")
    assert (answer.status, texts(answer.body, "LocationConstraint")) == (200, [""])
    head = await bucket.server.ask("/bulkdl", method="HEAD")
    assert (head.status, head.headers["x-amz-bucket-region"]) == (200, "us-east-1")


async def test_a_changed_file_is_an_error_and_its_place_is_not_revealed(bucket: ServedBucket) -> None:
    made = bucket.made[0]
    path = bucket.folder / made.path
    await asyncio.to_thread(path.write_bytes, made.content + b"more")
    answer = await bucket.ask(key_of(made))
    assert (answer.status, texts(answer.body, "Code")) == (500, ["InternalError"])
    assert str(bucket.folder) not in answer.body.decode()
    assert "changed since the scan" in (bucket.server.log[-1].note or "")


async def test_only_the_names_of_the_server_are_answered(bucket: ServedBucket) -> None:
    answer = await bucket.ask(key_of(bucket.made[0]), headers={"Host": "elsewhere.example"})
    assert answer.status == 421


async def test_many_who_ask_for_one_file_at_once_get_it(bucket: ServedBucket) -> None:
    key = key_of(bucket.made[-1])
    answers = await asyncio.gather(*(bucket.ask(key) for _ in range(20)))
    assert {answer.body for answer in answers} == {bucket.made[-1].content}


async def test_other_apis_do_not_wait_for_md5s(bucket: ServedBucket) -> None:
    """Those of large files take minutes."""
    with bucket.server.catalogue.writing():  # they wait for it when they are to be stored
        asked = [asyncio.create_task(bucket.ask(key, method="HEAD")) for key in bucket.keys]
        asked += [asyncio.create_task(bucket.page()) for _ in range(4)]
        async with asyncio.timeout(30):
            for _ in range(50):
                assert (await bucket.server.nbia("v1/getSeries")).status == 200
        assert not any(task.done() for task in asked)
    assert {answer.status for answer in await asyncio.gather(*asked)} == {200}


# --- s5cmd ------------------------------------------------------------------------------------------------------------

needs_s5cmd = pytest.mark.skipif(S5CMD is None, reason="needs s5cmd")


async def s5cmd(bucket: ServedBucket, *words: str, folder: Path) -> str:
    """Run s5cmd, which must succeed, and return what it prints."""
    assert S5CMD is not None
    endpoint = ("--no-sign-request", "--endpoint-url", bucket.server.origin)
    process = await asyncio.create_subprocess_exec(
        *(S5CMD, *endpoint, *words), cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, said = await process.communicate()
    assert (process.returncode, said) == (0, b"")
    return printed.decode()


@needs_s5cmd
async def test_s5cmd_lists_the_buckets(bucket: ServedBucket, tmp_path: Path) -> None:
    assert (await s5cmd(bucket, "ls", folder=tmp_path)).split()[-1] == "s3://bulkdl"


@needs_s5cmd
async def test_s5cmd_lists_the_bucket(bucket: ServedBucket, tmp_path: Path) -> None:
    printed = await s5cmd(bucket, "ls", "s3://bulkdl/", folder=tmp_path)
    folders = {key.partition("/")[0] for key in bucket.keys} | {"index"}
    assert {line.split()[-1].strip("/") for line in printed.splitlines()} == folders
    all_keys = await s5cmd(bucket, "ls", "s3://bulkdl/*", folder=tmp_path)
    keys = [line.split()[-1] for line in all_keys.splitlines()]
    assert [key for key in keys if not key.startswith("index/")] == bucket.keys


@needs_s5cmd
async def test_s5cmd_runs_a_manifest(bucket: ServedBucket, tmp_path: Path) -> None:
    folders = sorted({key.partition("/")[0] for key in bucket.keys})
    manifest = tmp_path / "cohort.s5cmd"
    manifest.write_text("".join(f"cp s3://bulkdl/{folder}/* .\n" for folder in folders))
    target = tmp_path / "target"
    target.mkdir()
    await s5cmd(bucket, "run", str(manifest), folder=target)
    copied = {path.name: path.read_bytes() for path in target.iterdir()}
    assert copied == {f"{stable_uuid(made.sop_uid)}.dcm": made.content for made in bucket.made}


@needs_s5cmd
async def test_s5cmd_copies_one_large_object_in_parts(bucket: ServedBucket, tmp_path: Path) -> None:
    made = bucket.made[-1]
    words = ("cp", "--part-size", "5", "--concurrency", "4", f"s3://bulkdl/{key_of(made)}", "one.dcm")
    await s5cmd(bucket, *words, folder=tmp_path)
    assert (tmp_path / "one.dcm").read_bytes() == made.content


async def test_a_request_in_the_form_of_a_browser_is_answered(bucket: ServedBucket) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{bucket.server.origin}/bulkdl") as response:
        assert (response.status, response.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert texts(await response.read(), "Name") == ["bulkdl"]


# --- boto3 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", [UNSIGNED, "s3v4", "s3"], ids=["unsigned", "version 4", "version 2"])
async def test_boto3_goes_from_the_list_of_buckets_to_an_object(bucket: ServedBucket, signature: Any) -> None:
    def read() -> tuple[list[str], list[str], bytes]:
        keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "any")
        config = Config(signature_version=signature, s3={"addressing_style": "path"})
        client = boto3.client("s3", endpoint_url=bucket.server.origin, region_name="us-east-1", config=config, **keys)
        names = [found["Name"] for page in client.get_paginator("list_buckets").paginate() for found in page["Buckets"]]
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=names[0], PaginationConfig={"PageSize": 5})
        listed = [found["Key"] for page in pages for found in page["Contents"]]
        content: bytes = client.get_object(Bucket=names[0], Key=bucket.keys[0])["Body"].read()
        return names, listed, content

    names, listed, content = await asyncio.to_thread(read)
    assert names == ["bulkdl"]
    assert [key for key in listed if not key.startswith("index/")] == bucket.keys
    assert content == next(made.content for made in bucket.made if key_of(made) == bucket.keys[0])
