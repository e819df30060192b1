"""List and get the objects of S3 buckets over HTTP, without credentials: Amazon S3, Google Cloud Storage, and others.

`ListObjectsV2` and `GetObject` of the Amazon S3 API reference, in path style (`BASE/BUCKET/KEY`). The XML API of Google
Cloud Storage answers the same requests, in another namespace, so only local names count.

A Series is a folder, `BUCKET/SERIES_UUID`, and an instance an object in it, `SERIES_UUID/INSTANCE_UUID.dcm`. Where an
object was uploaded in one part its entity tag is its MD5.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from bulkdl.archive import http_status
from bulkdl.archive.base import Listing, Rest
from bulkdl.archive.http import IDENTITY, HttpClient
from bulkdl.archive.http_body import HttpBody
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Request, ServiceRules
from bulkdl.errors import (
    AccessDenied,
    ArchiveUnreachable,
    BulkdlError,
    NotFound,
    RequestFailed,
    RequestRejected,
    ServerFailed,
    TooManyRequests,
    UnexpectedAnswer,
)
from bulkdl.model.records import Entry
from bulkdl.model.text import one_line, shortened
from bulkdl.runtime.tasks import together

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LOCATION: Final = re.compile(rf"(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])/(?P<folder>{_UUID})", re.ASCII)
_KEY: Final = re.compile(rf"(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])/(?P<object>{_UUID}/{_UUID}\.dcm)", re.ASCII)
_FILE: Final = re.compile(rf"{_UUID}\.dcm", re.ASCII)
_MD5_TAG: Final = re.compile(r'"?([0-9a-fA-F]{32})"?', re.ASCII)
_SIZE: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_HOST: Final = re.compile(
    r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]*)\.)?"
    r"(?:(?P<aws>s3(?:[.-](?:dualstack|fips|[a-z]{2}(?:-[a-z]+)+-[0-9]))*\.amazonaws\.com)|storage\.googleapis\.com)",
    re.ASCII,
)

_GOOGLE_NAMES: Final = MappingProxyType({"idc-open-data-two": "idc-open-idc1", "idc-open-data-cr": "idc-open-cr"})
"""The buckets whose names differ at Google, by their names at AWS, which stand in keys and locations."""

_PAGE_KEYS: Final = 1_000  # the most that S3 sends
_MOST_PAGE_BYTES: Final = 8 << 20
_MOST_PAGES: Final = 1_000  # of a list; the largest Series of IDC takes 92
_MOST_EMPTY_PAGES: Final = 8
_MOST_OBJECTS: Final = 200_000  # of a Series that counts fewer or none; or so many times as many
_MOST_OBJECTS_RATIO: Final = 10
_LIST_IN_PARTS: Final = 2_000  # instances, above which a Series is listed in parallel
_KEYS_PER_PART: Final = 5_000
_MOST_PARTS: Final = 16  # a power of 2: UUIDs are uniform, so each part has the same share of their first digits
_SHOWN_CHARACTERS: Final = 200
_ODD_SHOWN: Final = 3
_REQUEST_IDS: Final = ("x-amz-request-id", "x-guploader-uploadid")

_CODES: Final[Mapping[str, type[RequestFailed]]] = MappingProxyType(
    {
        "AccessDenied": AccessDenied,
        "NoSuchKey": NotFound,
        "PreconditionFailed": RequestRejected,
        "InvalidRange": RequestRejected,
        "SlowDown": TooManyRequests,
        "TooManyRequests": TooManyRequests,
        "RequestLimitExceeded": TooManyRequests,
        "RequestTimeout": ServerFailed,  # a 400 for a request that arrived too slowly
        "RequestTimeTooSkewed": ServerFailed,  # a 403, which s5cmd repeats
    }
)
"""Codes whose meaning the HTTP status alone does not give, or not surely."""


class Listed(NamedTuple):
    """One object of a list."""

    key: str
    size_bytes: int
    tag: str


class ListPage(NamedTuple):
    """One page of a list; `following` is the token that asks for the next one, None on the last."""

    objects: tuple[Listed, ...]
    following: str | None


@dataclass(slots=True)
class _Part:
    """The part of a list behind the key `after` and before the key `before`, as far as it is known."""

    after: str
    before: str
    objects: list[Listed] = field(default_factory=list)


class Bucket:
    """Lists folders and sends objects of all buckets of one provider."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self._http = http
        self._names = _GOOGLE_NAMES if profile.kind == "idc-gcs" else {}

    # --- list ---------------------------------------------------------------------------------------------------------

    async def list_folder(self, location: str, *, expected: int | None = None) -> Listing:
        """List the objects of a folder, `<bucket>/<series uuid>`, in the order of their keys.

        `expected` is how many there should be: a large folder is listed in parallel parts.

        Raises:
            RequestFailed: the list cannot be read, does not end, or repeats itself.
            ArchiveUnreachable: the bucket does not exist.
        """
        found = _LOCATION.fullmatch(location)
        if found is None:
            raise RequestRejected(f"{shortened(location, _SHOWN_CHARACTERS)!r} is not the place of a series")
        bucket, prefix = found["bucket"], f"{found['folder']}/"
        at_most = max(_MOST_OBJECTS, _MOST_OBJECTS_RATIO * (expected or 0))
        parts = [_Part(after, before) for after, before in pairwise(_bounds(prefix, expected or 0))]
        await together(*(self._list_part(bucket, prefix, part, at_most) for part in parts))
        objects = [each for part in parts for each in part.objects if not _is_marker(each)]
        odd = [each.key for each in objects if not _is_instance(each.key)]
        for key in odd[:_ODD_SHOWN]:
            self._http.note(f"{bucket}/{shortened(one_line(key), _SHOWN_CHARACTERS)} is not the key of an instance")
        return Listing(tuple(_entry(bucket, each) for each in objects if _is_instance(each.key)), len(odd))

    async def _list_part(self, bucket: str, prefix: str, part: _Part, at_most: int) -> None:
        tokens: set[str] = set()
        token: str | None = None
        empty = 0
        for _ in range(_MOST_PAGES):
            page = await self._page(bucket, prefix, part, token)
            keys = [part.objects[-1].key] if part.objects else []
            keys += [listed.key for listed in page.objects]
            if any(before >= key for before, key in pairwise(keys)):
                raise UnexpectedAnswer(f"the list of {bucket}/{prefix} repeats its keys, or is not in their order")
            part.objects += [listed for listed in page.objects if part.after <= listed.key < part.before]
            if page.following is None or (keys and keys[-1] >= part.before):
                return
            empty += not page.objects
            if page.following in tokens or empty > _MOST_EMPTY_PAGES:
                raise UnexpectedAnswer(f"the list of {bucket}/{prefix} repeats its pages")
            if len(part.objects) > at_most:
                break
            token = page.following
            tokens.add(token)
        raise UnexpectedAnswer(f"the list of {bucket}/{prefix} has more objects than is plausible, or does not end")

    async def _page(self, bucket: str, prefix: str, part: _Part, token: str | None) -> ListPage:
        query = [("list-type", "2"), ("prefix", prefix), ("max-keys", str(_PAGE_KEYS))]
        if token is not None:
            query.append(("continuation-token", token))
        elif part.after != prefix:
            query.append(("start-after", part.after))
        request = Request("list", self._names.get(bucket, bucket), tuple(query), rules=_RULES)

        async def once(_attempt: int) -> ListPage:
            _, content = await self._http.read_once(request, at_most=_MOST_PAGE_BYTES)
            return read_page(content, prefix)

        return await self._http.retrier.ask(f"the list of {bucket}/{prefix}", once)

    # --- get ----------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, entry: Entry, *, rest: Rest | None = None) -> AsyncIterator[HttpBody]:
        """Request one object, `<bucket>/<series uuid>/<instance uuid>.dcm`, or the `rest` of it; see `Archive.open`.

        Raises:
            UnexpectedAnswer: it is another object than the listed one, by its size or its entity tag.
        """
        found = _KEY.fullmatch(entry.key)
        if found is None:
            raise RequestRejected(f"{shortened(entry.key, _SHOWN_CHARACTERS)!r} is not the key of an instance")
        bucket, key = found.groups()
        request = Request("object", f"{self._names.get(bucket, bucket)}/{key}", rules=_RULES)
        async with self._http.open(request, headers=IDENTITY, rest=rest) as body:
            try:
                _check_listed(body, entry, rest)
                yield body
            except RequestFailed as error:
                error.args = (f"{error}{_request_id(body.headers)}",)
                raise


def _bounds(prefix: str, expected: int) -> list[str]:
    """The bounds of the parts of a list: the prefix, some keys between, and what is behind every key."""
    parts = 1
    if expected > _LIST_IN_PARTS:
        parts = 2
        while parts < _MOST_PARTS and parts * _KEYS_PER_PART < expected:
            parts *= 2
    return [prefix, *(f"{prefix}{16 * part // parts:x}" for part in range(1, parts)), f"{prefix}\U0010ffff"]


def _is_marker(listed: Listed) -> bool:
    """Whether it stands for a folder: some tools make an empty object of its name."""
    return listed.key.endswith("/") and not listed.size_bytes


def _is_instance(key: str) -> bool:
    return _FILE.fullmatch(key.partition("/")[2]) is not None


def _entry(bucket: str, listed: Listed) -> Entry:
    return Entry(f"{bucket}/{listed.key}", size_bytes=listed.size_bytes, md5=md5_of_tag(listed.tag))


def md5_of_tag(tag: str) -> bytes | None:
    """The MD5 that an entity tag is, 16 bytes; None if it is that of an object uploaded in parts (`…-N`), or opaque."""
    found = _MD5_TAG.fullmatch(tag.strip())
    return bytes.fromhex(found[1]) if found is not None else None


def _check_listed(body: HttpBody, entry: Entry, rest: Rest | None) -> None:
    """Compare the header of a response with the list, before its body is received."""
    length = body.length if rest is None or not body.is_part else rest.length
    if entry.size_bytes is not None and length is not None and length != entry.size_bytes:
        raise UnexpectedAnswer(f"the object has {length:,} bytes, but the list {entry.size_bytes:,}: it has changed")
    tagged = md5_of_tag(body.headers.get("ETag", ""))
    if entry.md5 is not None and tagged is not None and tagged != entry.md5:
        raise UnexpectedAnswer(f"the object has the MD5 {tagged.hex()}, but the list {entry.md5.hex()}: it has changed")


# --- XML --------------------------------------------------------------------------------------------------------------


def read_page(content: bytes, prefix: str) -> ListPage:
    """Read one page of the list of all keys that begin with `prefix`.

    Raises:
        UnexpectedAnswer: it is not such a page.
    """
    try:
        root = _parse(content, "ListBucketResult")
        texts = _texts(root)
        if _one(texts, "Prefix") != prefix:
            raise ValueError("a list of another folder")  # noqa: TRY301 - handled as what is not a list
        objects = tuple(_listed(_texts(each), prefix) for each in root if _name(each) == "Contents")
        is_truncated = {"true": True, "false": False}[_one(texts, "IsTruncated")]
        token = _one(texts, "NextContinuationToken") if is_truncated else None
    except (ValueError, KeyError) as error:
        raise UnexpectedAnswer(f"the answer is not a list of objects: {shortened(one_line(str(error)), 80)}") from error
    return ListPage(objects, token)


def _listed(texts: Mapping[str, list[str]], prefix: str) -> Listed:
    key, size = _one(texts, "Key"), _one(texts, "Size")
    if not key.startswith(prefix):
        raise ValueError("a key of another folder")
    if not _SIZE.fullmatch(size):
        raise ValueError("a size that is not a number")
    return Listed(key, int(size), _one(texts, "ETag", default=""))


def _parse(content: bytes, name: str) -> Element:
    from xml.etree.ElementTree import ParseError  # noqa: PLC0415 - late: only buckets answer in XML

    from defusedxml import DefusedXmlException  # noqa: PLC0415 - as above
    from defusedxml.ElementTree import fromstring  # noqa: PLC0415 - as above

    try:
        root: Element = fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError) as error:
        raise ValueError(f"invalid XML ({error})") from error
    if _name(root) != name:
        raise ValueError(f"the element {_name(root)}")
    return root


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _texts(element: Element) -> Mapping[str, list[str]]:
    """The texts of the children by their local names."""
    found: dict[str, list[str]] = {}
    for each in element:
        found.setdefault(_name(each), []).append(each.text or "")
    return found


def _one(texts: Mapping[str, list[str]], name: str, *, default: str | None = None) -> str:
    """The text of the one child of that name.

    Raises:
        ValueError: there is none, and no default, or there are several.
    """
    found = texts.get(name, [])
    if len(found) > 1 or (not found and default is None):
        raise ValueError(f"{len(found)} elements {name}")
    return found[0] if found else default or ""


# --- errors and redirects ---------------------------------------------------------------------------------------------


def read_error(status: int, headers: Mapping[str, str], content: bytes) -> BulkdlError | None:
    """The error that a response means by the code in its body; None if it has none."""
    try:
        texts = _texts(_parse(content, "Error"))
        code, message = _one(texts, "Code"), _one(texts, "Message", default="")
        identity = _one(texts, "RequestId", default="")
    except ValueError:
        return None
    said = shortened(one_line(f"{code}: {message}" if message else code), _SHOWN_CHARACTERS)
    text = f"the archive answered {status} {said}{_request_id(headers, identity)}"
    if code == "NoSuchBucket":
        return ArchiveUnreachable(text)
    error = http_status.error_of(status, text, headers.get("Retry-After"))
    kind = _CODES.get(code, type(error))
    return kind(text, status=status, retry_after_seconds=error.retry_after_seconds)


def _request_id(headers: Mapping[str, str], otherwise: str = "") -> str:
    """The end of a message that names the request, for those who run the service."""
    found = next((headers[name] for name in _REQUEST_IDS if name in headers), otherwise)
    return f" (request {shortened(one_line(found), 80)})" if found else ""


def follows(before: str, after: str) -> bool:
    """Whether a redirect leads to the same object of the same bucket, at the same server or provider."""
    old, new = urlsplit(before), urlsplit(after)
    old_host, new_host = _HOST.fullmatch(old.hostname or ""), _HOST.fullmatch(new.hostname or "")
    if old_host is None or new_host is None:
        return (old.scheme, old.netloc, old.path) == (new.scheme, new.netloc, new.path)
    is_same_provider = (old_host["aws"] is None) == (new_host["aws"] is None)
    return is_same_provider and _path(old_host["bucket"], old.path) == _path(new_host["bucket"], new.path)


def _path(bucket: str | None, path: str) -> str:
    return path if bucket is None else f"/{bucket}{path}"


_RULES: Final = ServiceRules(read_error, follows, "If-Match")
