"""The routes of the bucket: the list of buckets, listings in both versions, its location, and objects (GET and HEAD).

Requests are anonymous: whatever signature they carry, their sender sees what a guest sees. Nothing can be written.
"""

import io
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

from aiohttp import web

from bulkdl.errors import BulkdlError
from bulkdl.server.bucket import documents
from bulkdl.server.bucket.index import BUCKET, IndexFile, IndexNeeded
from bulkdl.server.bucket.listing import InvalidArgument, Listed, ListedPage, ListRequest, list_page, read_list_request
from bulkdl.server.bucket.objects import BucketObject, BucketObjects
from bulkdl.server.catalogue import ServedFile, open_served, read_served
from bulkdl.server.context import ServerContext
from bulkdl.server.responses import SHORT_BYTES, NotedResponse, ServerThreads, Unavailable, send_content, send_file
from bulkdl.server.supply import SeriesNeeded, list_or_download

_Found = TypeVar("_Found")

_PATH: Final = f"/{BUCKET}"
_XML: Final = "application/xml"
_REGION_HEADER: Final = "x-amz-bucket-region"
_REQUEST_ID: Final = "x-amz-request-id"
_ERRORS: Final = {
    "InvalidArgument": (HTTPStatus.BAD_REQUEST, "Invalid Argument"),
    "InternalError": (HTTPStatus.INTERNAL_SERVER_ERROR, "We encountered an internal error. Please try again."),
    "InvalidRange": (HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "The requested range is not satisfiable"),
    "MethodNotAllowed": (HTTPStatus.METHOD_NOT_ALLOWED, "The specified method is not allowed against this resource."),
    "NoSuchBucket": (HTTPStatus.NOT_FOUND, "The specified bucket does not exist"),
    "NoSuchKey": (HTTPStatus.NOT_FOUND, "The specified key does not exist."),
    "NotImplemented": (
        HTTPStatus.NOT_IMPLEMENTED,
        "A header or query you provided implies functionality that is not implemented.",
    ),
    "ServiceUnavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "Service is unable to handle request."),
    "PreconditionFailed": (
        HTTPStatus.PRECONDITION_FAILED,
        "At least one of the preconditions you specified did not hold",
    ),
}
"""Status and message of each error, in the words of Amazon S3."""

_OTHER_RESOURCES: Final = frozenset(
    (
        *("accelerate", "acl", "analytics", "attributes", "cors", "encryption", "inventory", "legal-hold", "lifecycle"),
        *("logging", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus"),
        *("publicAccessBlock", "replication", "requestPayment", "retention", "select", "tagging", "torrent"),
        *("uploadId", "uploads", "versioning", "versions", "website"),
    )
)
"""Names in the query that ask for something else than the objects of the bucket."""


_AGENT: Final = "aws-sdk"  # s5cmd is one, too
_OWN_HEADERS: Final = ("x-amz-", "amz-sdk-")
_OWN_PARAMETERS: Final = frozenset({"list-type", "x-id", "x-amz-algorithm", "awsaccesskeyid"})
_XML_TYPES: Final = frozenset({_XML, "text/xml"})


def add_routes(router: web.UrlDispatcher, context: ServerContext) -> None:
    """Add the routes of the bucket."""
    handlers = _BucketHandlers(context)
    root = _RootOfS3("/")
    root.add_route("*", handlers.list_buckets)
    router.register_resource(root)
    for path in (_PATH, f"{_PATH}/{{key:.*}}"):
        router.add_route("*", path, handlers.handle)


def other_bucket(http: web.Request) -> web.Response | None:
    """The answer to a request for another bucket; None if it is not of a client of S3, but of a browser or an API."""
    bucket = http.path.split("/")[1]
    if not bucket or not _is_of_s3(http):
        return None
    return _error(http, "NoSuchBucket", bucket)


def _is_of_s3(http: web.Request) -> bool:
    headers = http.headers
    return (
        any(name.lower() in _OWN_PARAMETERS for name in http.query)
        or headers.get("Authorization", "").startswith("AWS")
        or _AGENT in headers.get("User-Agent", "").lower()
        or any(name.lower().startswith(_OWN_HEADERS) for name in headers)
    )


class _RootOfS3(web.PlainResource):
    """The path `/` for clients of S3, which ask there for the list of buckets. Browsers get a page."""

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """Take no request of a browser. Clients of S3 that sign nothing send no Accept, or ask for XML."""
        parts = ",".join(request.headers.getall("Accept", ())).lower().split(",")
        accepted = {part.partition(";")[0].strip() for part in parts}
        if not (accepted - {""} <= _XML_TYPES or _is_of_s3(request)):
            return None, set()
        return await super().resolve(request)


class _BucketHandlers:
    """The request handlers, and what they share."""

    def __init__(self, context: ServerContext) -> None:
        catalogue, view = context.catalogue, context.view_of(context.authenticator.guest)
        self._threads, self._hashing = context.threads, context.hashing
        self._do = context.threads.do
        self._ending = context.ending
        self._began_ns = time.time_ns()
        self._index = index = IndexFile(catalogue, view)
        self._supply = supply = context.supply
        self._objects = BucketObjects(
            view, index, lambda: catalogue.generation, supply.is_whole if supply is not None else None
        )

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """Answer any request to the bucket."""
        key = http.match_info.get("key", "")
        if http.method not in {"GET", "HEAD"}:
            return _error(http, "MethodNotAllowed", key)
        if other := sorted(_OTHER_RESOURCES & http.query.keys()):
            return _error(http, "NotImplemented", key, note=other[0])
        try:
            async with AsyncExitStack() as stack:
                return await (self._send(http, key, stack) if key else self._answer(http, stack))
        except Unavailable as error:
            return _error(http, "ServiceUnavailable", key, message=str(error), status=error.status)
        except InvalidArgument as error:
            return _error(http, "InvalidArgument", None, message=str(error))
        except ConnectionError:
            raise  # the client has left
        except (BulkdlError, OSError) as error:
            return _error(http, "InternalError", key, note=str(error))

    async def list_buckets(self, http: web.Request) -> web.Response:
        """Answer with the list of buckets, of which there is one, as long as the server runs."""
        if http.method not in {"GET", "HEAD"}:
            return _error(http, "MethodNotAllowed", None)
        wanted, region = http.query.get("prefix", ""), http.query.get("bucket-region", documents.REGION)
        has_it = BUCKET.startswith(wanted) and region == documents.REGION
        return _document(documents.list_of_buckets(self._began_ns if has_it else None))

    async def _made(
        self, http: web.Request, threads: ServerThreads, ask: Callable[..., _Found], *arguments: object
    ) -> _Found:
        """The result of `ask`, called again once the index is made, if it needs that."""
        while True:
            try:
                return await threads.do(ask, self._objects, *arguments)
            except IndexNeeded:
                await self._index.make(self._threads, lambda: http.transport is None or self._ending.is_set())

    async def _page(self, http: web.Request, request: ListRequest, stack: AsyncExitStack) -> ListedPage:
        """A page of a listing. What a cache does not have is listed as its archive does, or else downloaded."""
        listed: dict[str, Listed] = {}
        while True:
            try:
                return await self._made(http, self._hashing, list_page, request, listed)
            except SeriesNeeded as needed:
                assert self._supply is not None  # noqa: S101 - it is what needs Series
                instances = await list_or_download(self._supply, needed.series_uid, stack)
                if instances is not None:
                    listed[needed.series_uid] = instances

    async def _answer(self, http: web.Request, stack: AsyncExitStack) -> web.Response:
        """Answer a request to the bucket itself."""
        if http.method == "HEAD":
            return web.Response(headers={_REGION_HEADER: documents.REGION}, content_type=_XML)
        if "location" in http.query:
            return _document(documents.location())
        texts = {name: text.encode(errors="replace").decode() for name, text in http.query.items()}
        page = await self._page(http, read_list_request(texts), stack)
        return _document(documents.list_document(page))

    async def _send(self, http: web.Request, key: str, stack: AsyncExitStack) -> web.StreamResponse:
        """Send an object, or a part of it.

        Raises:
            OSError: its file cannot be read, or has changed since the scan.
            Unavailable: the archive of a cache does not send it.
        """
        if self._supply is not None and (place := await self._do(self._objects.instance, key)) is not None:
            await stack.enter_async_context(self._supply.using_one(place.series_uid, place.is_it))
        found = self._objects.cached(key) or await self._made(http, self._threads, BucketObjects.find, key)
        if found is None:
            return _error(http, "NoSuchKey", key)
        if found.md5 is None:
            found = await self._hashing.do(self._objects.with_md5, found)
        headers = {"Content-Type": _content_type(key), _REQUEST_ID: _new_request_id()}
        sent = await _send_content(http, found, headers)
        if sent.status == HTTPStatus.PRECONDITION_FAILED:
            return _error(http, "PreconditionFailed", key)
        if sent.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            refused = _error(http, "InvalidRange", key)
            refused.headers["Content-Range"] = sent.headers["Content-Range"]
            return refused
        return sent


async def _send_content(http: web.Request, found: BucketObject, headers: Mapping[str, str]) -> web.StreamResponse:
    source = found.source
    if isinstance(source, ServedFile) and source.size_bytes <= SHORT_BYTES:
        source = read_served(source)
    if isinstance(source, bytes):
        return send_content(http, source, headers, mtime_ns=found.mtime_ns, etag=found.etag)
    assert source is not None  # noqa: S101 - what a cache does not have was downloaded
    with io.FileIO(source) if isinstance(source, Path) else open_served(source) as opened:
        return await send_file(http, opened, headers, etag=found.etag)


def _content_type(key: str) -> str:
    return "application/dicom" if key.endswith(".dcm") else "application/octet-stream"


def _document(body: bytes) -> web.Response:
    headers = {_REGION_HEADER: documents.REGION, _REQUEST_ID: _new_request_id()}
    return web.Response(body=body, content_type=_XML, headers=headers)


def _error(
    http: web.Request,
    code: str,
    resource: str | None,
    *,
    message: str | None = None,
    note: str | None = None,
    status: HTTPStatus | None = None,
) -> web.Response:
    """The answer to a request that failed. `note` is for the access log alone."""
    usual_status, usual = _ERRORS[code]
    request_id = _new_request_id()
    body = documents.error_document(code, message or usual, request_id=request_id, resource=resource)
    return NotedResponse(
        note or code,
        status=status or usual_status,
        body=b"" if http.method == "HEAD" else body,
        content_type=_XML,
        headers={_REQUEST_ID: request_id},
    )


def _new_request_id() -> str:
    return secrets.token_hex(8).upper()
