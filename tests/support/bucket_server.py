"""An S3 bucket over real sockets, as small as the interface allows, with faults on demand.

It lists (`list-type=2`, pages, `start-after`), sends objects and ranges of them with `If-Match`, and answers errors in
XML. What `fault` returns for a request is done instead of the right answer.
"""

from __future__ import annotations

import hashlib
import uuid
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support.dicom_files import MadeUp
from tests.support.faults import Action, Exchange, FaultyServer, Seen, answer
from tests.support.idc_index import series_row, write_index

BUCKET = "idc-open-data"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True)
class Stored:
    """One object: its bytes, the entity tag that stands for them, the MD5 by default, and its hashes as Google's."""

    content: bytes
    tag: str = ""
    hashes: str = ""

    @property
    def md5(self) -> bytes:
        return hashlib.md5(self.content, usedforsecurity=False).digest()

    @cached_property
    def etag(self) -> str:
        return self.tag or f'"{self.md5.hex()}"'


def uuid_of(*parts: object) -> str:
    """A UUID of version 4 that depends on `parts` alone."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def series_uuid(series_uid: str) -> str:
    """The folder of a Series."""
    return uuid_of("series", series_uid)


def key_of(one: MadeUp) -> str:
    """The key of an instance: its UIDs are not in it."""
    return f"{series_uuid(one.series_uid)}/{uuid_of('instance', one.sop_uid)}.dcm"


class BucketServer:
    """Serves objects by bucket and key. A page has at most `page_keys` keys."""

    def __init__(
        self,
        objects: Mapping[str, Mapping[str, Stored]],
        *,
        fault: Callable[[Seen], Action | None] = lambda _: None,
        page_keys: int = 1_000,
    ) -> None:
        self.buckets = {bucket: dict(stored) for bucket, stored in objects.items()}
        self.made_up: list[MadeUp] = []
        self.page_keys = page_keys
        self.fault = fault
        self.server = FaultyServer(lambda seen: self.fault(seen) or self.right(seen))

    @property
    def url(self) -> str:
        """The base address, with a slash at its end."""
        return self.server.url

    @property
    def gets(self) -> list[Seen]:
        """The requests for objects so far."""
        return [seen for seen in self.server.requests if "list-type" not in seen.query]

    @property
    def lists(self) -> list[Seen]:
        """The requests for lists so far."""
        return [seen for seen in self.server.requests if "list-type" in seen.query]

    def requested(self, kind: str) -> list[Seen]:
        """The requests so far for single instances; there are no bundles."""
        return self.gets if kind == "file" else []

    def right(self, seen: Seen) -> Action:
        """The right answer."""
        bucket, _, key = seen.path.strip("/").partition("/")
        if bucket not in self.buckets:
            return s3_error(404, "NoSuchBucket", "The specified bucket does not exist")
        if not key:
            return self._list(bucket, seen.query)
        if key not in self.buckets[bucket]:
            return s3_error(404, "NoSuchKey", "The specified key does not exist.")
        return part_of(self.buckets[bucket][key], seen)

    def _list(self, bucket: str, query: Mapping[str, str]) -> Action:
        prefix = query.get("prefix", "")
        keys = sorted(key for key in self.buckets[bucket] if key.startswith(prefix))
        after = query.get("continuation-token", query.get("start-after", "")).removeprefix("after+")
        keys = keys[bisect_right(keys, after) :]
        page = keys[: min(self.page_keys, int(query.get("max-keys", "1000")))]
        token = f"after+{page[-1]}" if len(page) < len(keys) else None
        return answer(list_xml(bucket, prefix, [(key, self.buckets[bucket][key]) for key in page], token), headers=XML)


XML = {"Content-Type": "application/xml"}


def list_xml(bucket: str, prefix: str, page: Iterable[tuple[str, Stored]], following: str | None = None) -> bytes:
    """One page of a list, as S3 writes it."""
    rows = [(key, stored.etag, len(stored.content)) for key, stored in page]
    return list_xml_of(bucket, prefix, rows, following)


def list_xml_of(bucket: str, prefix: str, page: Iterable[tuple[str, str, int]], following: str | None = None) -> bytes:
    """One page of a list of keys, entity tags and sizes."""
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2023-04-09T11:49:55.000Z</LastModified>"
        f"<ETag>{escape(tag, {chr(34): '&quot;'})}</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass>"
        "</Contents>"
        for key, tag, size in page
    )
    more = f"<NextContinuationToken>{escape(following)}</NextContinuationToken>" if following is not None else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{NAMESPACE}"><Name>{bucket}</Name>'
        f"<Prefix>{escape(prefix)}</Prefix>{more}<KeyCount>{contents.count('<Key>')}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{contents}</ListBucketResult>"
    ).encode()


def s3_error(status: int, code: str, message: str = "", *, headers: Mapping[str, str] | None = None) -> Action:
    """An error as S3 writes it."""
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        "<RequestId>REQUEST01</RequestId><HostId>demo/host+id=</HostId></Error>"
    )
    return answer(text.encode(), status=status, headers={**XML, **(headers or {})})


def part_of(stored: Stored, seen: Seen, *, cut_after: int | None = None) -> Action:
    """The object, or the range of it that the request asks for; cut after so many bytes."""
    content, headers = stored.content, {"Content-Type": "application/dicom", "ETag": stored.etag}
    headers["x-amz-request-id"] = f"REQUEST{seen.number:02}"
    headers |= {"x-goog-hash": stored.hashes} if stored.hashes else {}
    if seen.headers.get("if-match") not in {None, stored.etag}:
        return s3_error(412, "PreconditionFailed", "At least one of the preconditions you specified did not hold")
    start, end = range_of(seen, len(content))
    if start >= len(content):
        return s3_error(416, "InvalidRange", "The requested range is not satisfiable")
    headers["Content-Length"] = str(end - start)
    if "range" in seen.headers:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(206 if "range" in seen.headers else 200, headers)
        await exchange.send(content[start:end][:cut_after])
        if cut_after is not None and cut_after < end - start:
            exchange.drop()

    return act


def range_of(seen: Seen, length: int) -> tuple[int, int]:
    """The first byte that a request asks for, and the one behind the last."""
    first, _, last = seen.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1 if last else length, length)


def stored_by_key(made_up: Iterable[MadeUp]) -> dict[str, Stored]:
    """Made-up instances as objects, by key."""
    return {key_of(one): Stored(one.content) for one in made_up}


def locations(made_up: Iterable[MadeUp]) -> dict[str, str]:
    """The place of each Series, by its UID."""
    grouped = groupby(made_up, key=lambda one: one.series_uid)
    return {series_uid: f"{BUCKET}/{series_uuid(series_uid)}" for series_uid, _ in grouped}


def rows_of(made_up: Iterable[MadeUp], **values: object) -> list[dict[str, object]]:
    """The rows of an index for made-up instances; `values` are those of every row."""
    rows = []
    by_series: dict[str, list[MadeUp]] = {}
    for one in made_up:
        by_series.setdefault(one.series_uid, []).append(one)
    for number, (uid, instances) in enumerate(by_series.items()):
        row = {
            "collection_id": _id_of(instances[0].collection),
            "PatientID": instances[0].patient_id,
            "StudyInstanceUID": instances[0].study_uid,
            "SeriesInstanceUID": uid,
            "instanceCount": len(instances),
            "series_size_MB": sum(len(one.content) for one in instances) / 1e6,
            "aws_bucket": BUCKET,
            "crdc_series_uuid": series_uuid(uid),
        }
        rows.append(series_row(number, **row | values))
    return rows


def write_index_of(folder: Path, made_up: Iterable[MadeUp], **values: object) -> Path:
    """Write the index of made-up instances; `values` are those of every row."""
    instances = list(made_up)
    names = {_id_of(one.collection): one.collection for one in instances}
    return write_index(folder, rows_of(instances, **values), names=names)


def _id_of(collection: str) -> str:
    return collection.lower().replace("-", "_")


@asynccontextmanager
async def bucket_server(
    made_up: Iterable[MadeUp], *, fault: Callable[[Seen], Action | None] = lambda _: None, page_keys: int = 1_000
) -> AsyncIterator[BucketServer]:
    """A running server whose one bucket has these instances."""
    made_up = list(made_up)
    running = BucketServer({BUCKET: stored_by_key(made_up)}, fault=fault, page_keys=page_keys)
    running.made_up = made_up
    async with running.server:
        yield running
