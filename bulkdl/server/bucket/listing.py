"""One page of a listing of the bucket: ListObjectsV2, and ListObjects of version 1. Blocking.

Keys that have the delimiter after the prefix are listed as one common prefix. A page ends early, and says so, where the
MD5s of its objects would have to be computed of too many bytes; `BucketObjects` keeps those that it has computed.

Source: Amazon S3 API Reference, ListObjectsV2 and ListObjects; where they are silent, S3 as other clients know it.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from bulkdl.server.bucket.index import IndexNeeded
from bulkdl.server.bucket.objects import BucketObject, BucketObjects
from bulkdl.server.supply import ListedInstance, SeriesNeeded

Item: TypeAlias = BucketObject | str
"""An object, or a common prefix."""
Listed: TypeAlias = Sequence[ListedInstance]
"""The instances of a Series as the archive of a cache lists them."""

_MOST_KEYS: Final = 1_000
_HASHED_BYTES: Final = 256 << 20  # of one page; a second of work
_FOLDER_CHARACTERS: Final = 36


class InvalidArgument(ValueError):
    """A parameter is invalid; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """What is asked for: keys after `after` that begin with `prefix`, `most` in all."""

    version: int = 2
    prefix: str = ""
    delimiter: str = ""
    most: int = _MOST_KEYS
    after: str = ""
    start_after: str | None = None
    token: str | None = None
    is_url_encoded: bool = False

    def common_prefix(self, key: str) -> str | None:
        """The common prefix that a key is listed as, if it has the delimiter after the prefix."""
        if not self.delimiter or not key.startswith(self.prefix):
            return None
        end = key.find(self.delimiter, len(self.prefix))
        return None if end < 0 else key[: end + len(self.delimiter)]


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Objects and common prefixes in the order of keys. `next` is the last of them, if there are more."""

    request: ListRequest
    items: tuple[Item, ...]
    next: str | None


def read_list_request(parameters: Mapping[str, str]) -> ListRequest:
    """Read the parameters of a request.

    Raises:
        InvalidArgument: one is invalid.
    """
    version = 2 if "list-type" in parameters else 1
    if version == 2 and parameters["list-type"] != "2":  # noqa: PLR2004 - a version
        raise InvalidArgument("Invalid List Type specified in Request")
    encoding = parameters.get("encoding-type")
    if encoding not in {None, "url"}:
        raise InvalidArgument("Invalid Encoding Method specified in Request")
    most = parameters.get("max-keys") or str(_MOST_KEYS)
    if not (most.isascii() and most.isdigit() and len(most) <= 10):  # noqa: PLR2004 - digits of 2**31
        raise InvalidArgument("Provided max-keys not an integer or within integer range")
    token = parameters.get("continuation-token") if version == 2 else None  # noqa: PLR2004 - as above
    start_after = parameters.get("start-after" if version == 2 else "marker")  # noqa: PLR2004 - as above
    return ListRequest(
        version=version,
        prefix=parameters.get("prefix", ""),
        delimiter=parameters.get("delimiter", ""),
        most=min(int(most), _MOST_KEYS),
        after=start_after or "" if token is None else _read_token(token),
        start_after=start_after,
        token=token,
        is_url_encoded=encoding is not None,
    )


def token_for(after: str) -> str:
    """The continuation token of a page that ends with a key."""
    return base64.b64encode(after.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidArgument("The continuation token provided is incorrect") from None


def list_page(objects: BucketObjects, request: ListRequest, listed: Mapping[str, Listed]) -> ListedPage:
    """The page that a request asks for. It ends where something has to be made or downloaded for the next object.

    `listed` are Series that a cache does not have, by their UIDs.

    Raises:
        DiskError: the catalogue cannot be read or written.
        IndexNeeded: the first object is of the index, which has to be made.
        SeriesNeeded: a cache does not have the first object.
    """
    items: list[Item] = []
    try:
        return _fill(items, objects, request, listed)
    except (IndexNeeded, SeriesNeeded):
        if not items:
            raise
        return _cut(items, request)


def _cut(items: list[Item], request: ListRequest) -> ListedPage:
    last = items[-1]
    return ListedPage(request, tuple(items), last if isinstance(last, str) else last.key)


def _fill(items: list[Item], objects: BucketObjects, request: ListRequest, listed: Mapping[str, Listed]) -> ListedPage:
    hashed_bytes = 0
    for item in _items(objects, request, listed) if request.most else ():
        if len(items) >= request.most or hashed_bytes > _HASHED_BYTES:
            return _cut(items, request)
        if isinstance(item, BucketObject) and item.md5 is None:
            hashed_bytes += item.size_bytes
            items.append(objects.with_md5(item))
        else:
            items.append(item)
    return ListedPage(request, tuple(items), None)


def _items(objects: BucketObjects, request: ListRequest, listed: Mapping[str, Listed]) -> Iterator[Item]:
    """All objects and common prefixes after `request.after`, each common prefix once."""
    last = request.after
    for found in _candidates(objects, request, listed):
        key = found if isinstance(found, str) else found.key
        common = request.common_prefix(key)
        if common is not None and common > last:
            last = common
            yield common
        elif common is None and key > request.after and key.startswith(request.prefix) and not isinstance(found, str):
            yield found


def _candidates(objects: BucketObjects, request: ListRequest, listed: Mapping[str, Listed]) -> Iterator[Item]:
    """The objects of the folders that may have some, or the name of a folder that is listed as a common prefix."""
    prefix = request.prefix[:_FOLDER_CHARACTERS]
    for uuid in objects.folders(max(prefix, request.after[:_FOLDER_CHARACTERS])):
        if not uuid.startswith(prefix):
            break
        if request.common_prefix(f"{uuid}/") is not None:
            yield f"{uuid}/"
        else:
            yield from objects.folder(uuid, listed).values()
    if "index/".startswith(request.prefix[: len("index/")]):
        if request.common_prefix("index/") is not None:
            yield "index/"
        else:
            yield from objects.index()
