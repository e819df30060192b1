"""Objects of a data commons, named by identifiers of the GA4GH Data Repository Service (DRS); pure.

Source: DRS 1.4 of the GA4GH, "DRS URIs". An identifier names a host (`drs://HOST/ID`), or is compact and begins with a
prefix (`drs://PREFIX:ACCESSION`, `PREFIX/ACCESSION`), which only a table of known commons resolves.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, urlencode

from bulkdl.model.ids import SeriesUid, is_uid

SCHEME: Final = "drs://"
_SEPARATOR: Final = " "  # between the objects of one location; no identifier contains it
_SEGMENT: Final = r"[A-Za-z0-9._~:-]+"
_ID: Final = re.compile(rf"(?!.*(?:^|/)\.\.?(?:/|$)){_SEGMENT}(?:/{_SEGMENT}){{0,4}}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?", re.ASCII)
_PREFIX: Final = re.compile(r"dg\.[A-Za-z0-9]+", re.ASCII)
_COMPACT: Final = re.compile(rf"(?P<prefix>{_PREFIX.pattern})[:/](?P<rest>.+)", re.ASCII)
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_MD5: Final = re.compile(r"[0-9A-Fa-f]{32}", re.ASCII)
_SIZE: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_LONGEST: Final = 256
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class DrsObject:
    """One object, and what a manifest says of it. `host` is empty where the identifier is compact.

    As text it is a location: the identifier, and behind `#` the rest, encoded like the query of an address.
    """

    object_id: str
    host: str = ""
    name: str = ""
    series_uid: SeriesUid | None = None
    collection: str = ""
    patient_id: str = ""
    size_bytes: int | None = None
    md5: bytes | None = None

    @property
    def prefix(self) -> str:
        """The prefix of the identifier, empty if it has none."""
        found = _COMPACT.fullmatch(self.object_id)
        return found["prefix"] if found is not None else ""

    @property
    def uri(self) -> str:
        """The identifier as an address."""
        return f"{SCHEME}{self.host}/{self.object_id}" if self.host else SCHEME + self.object_id.replace("/", ":", 1)

    def __str__(self) -> str:
        values = {
            "name": self.name,
            "series": self.series_uid or "",
            "collection": self.collection,
            "patient": self.patient_id,
            "size": "" if self.size_bytes is None else str(self.size_bytes),
            "md5": self.md5.hex() if self.md5 is not None else "",
        }
        known = urlencode({name: value for name, value in values.items() if value})
        return f"{self.uri}#{known}" if known else self.uri

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an identifier, or what `str` made of an object. Raises ValueError: it is neither."""
        address, _, known = text.strip().partition("#")
        host, object_id = _parts_of(address)
        values = dict(parse_qsl(known))
        series_uid, size, md5 = values.get("series", ""), values.get("size", ""), values.get("md5", "")
        return cls(
            object_id=object_id,
            host=host,
            name=values.get("name", ""),
            series_uid=SeriesUid(series_uid) if is_uid(series_uid) else None,
            collection=values.get("collection", ""),
            patient_id=values.get("patient", ""),
            size_bytes=int(size) if _SIZE.fullmatch(size) else None,
            md5=parse_md5(md5),
        )


def parse_md5(text: str) -> bytes | None:
    """The MD5 that 32 hexadecimal digits are, 16 bytes; None if `text` is something else."""
    return bytes.fromhex(text) if _MD5.fullmatch(text) else None


def is_drs_location(location: str) -> bool:
    """Whether a location names objects of a data commons."""
    return location.startswith(SCHEME)


def looks_like_object_id(text: str) -> bool:
    """Whether a text is almost certainly an identifier: an address, a compact one, or a UUID."""
    is_compact = _COMPACT.fullmatch(text) is not None
    return text.casefold().startswith(SCHEME) or is_compact or _UUID.fullmatch(text) is not None


def objects_of(location: str) -> Iterator[DrsObject]:
    """The objects that a location names. Raises ValueError: one is invalid."""
    return map(DrsObject.parse, location.split(_SEPARATOR))


def location_of_objects(objects: Iterable[DrsObject]) -> str:
    """The location of a Series that consists of these objects."""
    return _SEPARATOR.join(map(str, objects))


def uri_of(location: str) -> str:
    """The identifiers in a location, without what a manifest says of their objects."""
    return _SEPARATOR.join(each.partition("#")[0] for each in location.split(_SEPARATOR))


def _parts_of(address: str) -> tuple[str, str]:
    """The host and the identifier of an address."""
    shown = repr(address[:_SHOWN])
    rest = address[len(SCHEME) :] if address.casefold().startswith(SCHEME) else address
    host, object_id = "", rest
    first, slash, last = rest.partition("/")
    if rest is not address and slash and _HOST.fullmatch(first) and not _PREFIX.fullmatch(first):
        host, object_id = first.casefold(), last
    elif (compact := _COMPACT.fullmatch(rest)) is not None:
        prefix, accession = compact["prefix"], compact["rest"]
        object_id = accession if accession.startswith(f"{prefix}/") else f"{prefix}/{accession}"
    elif rest is not address:
        raise ValueError(f"{shown} is not a DRS identifier: it names neither a host nor a prefix")
    if len(object_id) > _LONGEST or not _ID.fullmatch(object_id):
        raise ValueError(f"{shown} is not a DRS identifier")
    return host, object_id
