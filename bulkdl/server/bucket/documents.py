"""The XML documents of Amazon S3: listings, errors, the list of buckets, the location of the bucket.

Source: Amazon S3 API Reference.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

from bulkdl.server.bucket.index import BUCKET
from bulkdl.server.bucket.listing import ListedPage, token_for

REGION: Final = "us-east-1"
_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_INVALID: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot have."""


def location() -> bytes:
    """The answer to GetBucketLocation. The region `us-east-1` has no name."""
    return f'{_HEAD}<LocationConstraint xmlns="{_NAMESPACE}"/>'.encode()


def list_of_buckets(made_ns: int | None) -> bytes:
    """The answer to ListBuckets: the bucket, with the time of its making in nanoseconds since 1970; none for None."""
    owner = f"<Owner>{_element('ID', BUCKET)}{_element('DisplayName', BUCKET)}</Owner>"
    found = ""
    if made_ns is not None:
        made, region = _element("CreationDate", _moment(made_ns)), _element("BucketRegion", REGION)
        found = f"<Bucket>{_element('Name', BUCKET)}{made}{region}</Bucket>"
    body = f"{owner}<Buckets>{found}</Buckets>"
    return f'{_HEAD}<ListAllMyBucketsResult xmlns="{_NAMESPACE}">{body}</ListAllMyBucketsResult>'.encode()


def error_document(code: str, message: str, *, request_id: str, resource: str | None) -> bytes:
    """The body of an error; `resource` is the key, or the bucket that does not exist."""
    name = "BucketName" if code == "NoSuchBucket" else "Key"
    about = "" if resource is None else _element(name, resource)
    texts = _element("Code", code), _element("Message", message), about, _element("RequestId", request_id)
    return f"{_HEAD}<Error>{''.join(texts)}<HostId>{BUCKET}</HostId></Error>".encode()


def list_document(page: ListedPage) -> bytes:
    """The body of a page of a listing."""
    return f'{_HEAD}<ListBucketResult xmlns="{_NAMESPACE}">{"".join(_parts(page))}</ListBucketResult>'.encode()


def _parts(page: ListedPage) -> Iterator[str]:
    request = page.request

    def key(name: str, text: str | None) -> str:
        if text is None:
            return ""
        return _element(name, quote(text, errors="replace") if request.is_url_encoded else text)

    yield _element("Name", BUCKET) + key("Prefix", request.prefix) + key("Delimiter", request.delimiter or None)
    if request.version == 1:
        yield key("Marker", request.start_after or "") + key("NextMarker", page.next)
    else:
        yield key("StartAfter", request.start_after) + _element("KeyCount", str(len(page.items)))
        yield _element("ContinuationToken", request.token) if request.token is not None else ""
        yield _element("NextContinuationToken", token_for(page.next)) if page.next is not None else ""
    yield _element("EncodingType", "url") if request.is_url_encoded else ""
    yield _element("MaxKeys", str(request.most)) + _element("IsTruncated", str(page.next is not None).lower())
    for item in page.items:
        if isinstance(item, str):
            yield f"<CommonPrefixes>{key('Prefix', item)}</CommonPrefixes>"
        else:
            yield (
                f"<Contents>{key('Key', item.key)}<LastModified>{_moment(item.mtime_ns)}</LastModified>"
                f"<ETag>{escape(item.etag, {chr(34): '&quot;'})}</ETag><Size>{item.size_bytes}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(_INVALID.sub(' ', text))}</{name}>"


def _moment(mtime_ns: int) -> str:
    return datetime.fromtimestamp(mtime_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
