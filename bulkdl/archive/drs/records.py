"""The record of an object of a data commons: its name, its size, its checksums and its access methods; pure.

Source: the Data Repository Service of the GA4GH, version 1, `GET /objects/{id}`. Gen3 gives the size as a number or as
text, and `access_url` is where an object lies, not an address that anybody may read.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from bulkdl.errors import UnexpectedAnswer
from bulkdl.model.drs_objects import DrsObject
from bulkdl.model.text import one_line, shortened

_SIZE: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_DIGEST: Final = re.compile(r"(?:[0-9a-f]{2}){4,64}", re.ASCII)
_ACCESS_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,64}", re.ASCII)
_ORDER: Final = ("s3", "gs", "https", "http")  # of the ways to an object; others come last
_LONGEST_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class DrsRecord:
    """What a data commons says of an object. `checksums` are hexadecimal digits in lower case by kind, as `md5`.

    `access_ids` are those of its access methods, in the order in which to try them.
    """

    object_id: str
    name: str
    size_bytes: int
    checksums: Mapping[str, str]
    access_ids: tuple[str, ...]

    @property
    def md5(self) -> bytes | None:
        """The MD5, 16 bytes."""
        digits = self.checksums.get("md5", "")
        return bytes.fromhex(digits) if len(digits) == 32 else None  # noqa: PLR2004 - two for each byte

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip, by its name."""
        return self.name.casefold().endswith(".zip")


def read_record(content: bytes, wanted: DrsObject) -> DrsRecord:
    """Read the record of an object.

    Raises UnexpectedAnswer: it is not a record, or that of another object, or it differs from what the manifest says.
    """
    try:
        found = json.loads(content)
        if not isinstance(found, Mapping) or found.get("form") == "bundle" or found.get("contents"):
            raise ValueError("not the record of a single object")  # noqa: TRY301 - handled as what is not JSON
        record = DrsRecord(
            object_id=_own_id(found, wanted),
            name=_name(found) or wanted.name,
            size_bytes=_size(found.get("size")),
            checksums=_checksums(found.get("checksums")),
            access_ids=_access_ids(found.get("access_methods")),
        )
    except (ValueError, RecursionError) as error:
        said = shortened(one_line(str(error)), 80)
        raise UnexpectedAnswer(f"the answer for {wanted.uri} is not a record: {said}") from error
    _compare(record, wanted)
    return record


def _own_id(found: Mapping[str, Any], wanted: DrsObject) -> str:
    own = found.get("id")
    if not isinstance(own, str) or own.rpartition("/")[2].casefold() != wanted.object_id.rpartition("/")[2].casefold():
        raise ValueError("it has another id")
    return wanted.object_id


def _name(found: Mapping[str, Any]) -> str:
    """The name of an object; that of the file where it lies, if it has no other."""
    name = found.get("name")
    if isinstance(name, str) and name:
        return posixpath.basename(name)[:_LONGEST_NAME]
    places = (posixpath.basename(urlsplit(place).path) for place in _places(found.get("access_methods")))
    return next(filter(None, places), "")[:_LONGEST_NAME]


def _places(methods: Any) -> Iterable[str]:
    for method in methods if isinstance(methods, list) else ():
        place = method.get("access_url") if isinstance(method, Mapping) else None
        if isinstance(place, Mapping) and isinstance(place.get("url"), str):
            yield place["url"]


def _size(value: Any) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not _SIZE.fullmatch(text):
        raise ValueError("it has no size")
    return int(text)


def _checksums(values: Any) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for value in values if isinstance(values, list) else ():
        kind, digits = (value.get("type"), value.get("checksum")) if isinstance(value, Mapping) else (None, None)
        if isinstance(kind, str) and isinstance(digits, str) and _DIGEST.fullmatch(digits.lower()):
            found[kind.lower().replace("-", "")] = digits.lower()
    return found


def _access_ids(methods: Any) -> tuple[str, ...]:
    """The ways to an object that may be asked for an address."""
    found: list[tuple[int, str]] = []
    for method in methods if isinstance(methods, list) else ():
        if not isinstance(method, Mapping) or method.get("available") is False:
            continue
        access_id, kind = method.get("access_id"), str(method.get("type"))
        if isinstance(access_id, str) and _ACCESS_ID.fullmatch(access_id):
            found.append((_ORDER.index(kind) if kind in _ORDER else len(_ORDER), access_id))
    return tuple(dict.fromkeys(access_id for _, access_id in sorted(found)))


def _compare(record: DrsRecord, wanted: DrsObject) -> None:
    if wanted.size_bytes is not None and wanted.size_bytes != record.size_bytes:
        raise UnexpectedAnswer(
            f"the record of {wanted.uri} says {record.size_bytes:,} bytes, the manifest {wanted.size_bytes:,}"
        )
    if None not in {wanted.md5, record.md5} and wanted.md5 != record.md5:
        ours, theirs = (each.hex() for each in (wanted.md5 or b"", record.md5 or b""))
        raise UnexpectedAnswer(f"the record of {wanted.uri} says MD5 {theirs}, the manifest {ours}")
