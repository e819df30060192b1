"""Lock files: every instance of a data set with its size and checksums, so that anyone can rebuild and prove it.

Plain text, UTF-8, one fact a line, values separated by tabs, `-` for what is not known. The head has one `name value`
a line and ends with an empty line; `sha256` there is the digest of everything below it. Each Series is a line that
begins with `series`; its instances follow, without that word. Series and instances are sorted by UID, so two locks of
the same data differ in the head alone, and both writing and reading need the memory of one Series::

    bulkdl-lock     1
    archive         nbia https://services.cancerimagingarchive.net/nbia-api/services
    date            2026-01-31T12:00:00+00:00
    series          1
    instances       1
    bytes           527890
    release         v23
    sha256          1f0c…

    series  SERIES_UID  STUDY_UID  PATIENT  COLLECTION  MODALITY  LICENCE  LICENCE_URI  DOI  RELEASED
    SOP_UID  SIZE  MD5  SHA256  TRANSFER_SYNTAX_UID  KEY

`release` is that of the archive's index, where it has one. KEY is where an archive has the instance; it is left out
where that is the SOP Instance UID. In texts a tab, the ends of a line, a backslash and a lone `-` are written with a
backslash.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Final

from bulkdl.errors import InvalidUid
from bulkdl.manifest.base import ManifestReading, ManifestRow, Remarks, lines
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, is_uid, parse_series_uid, parse_sop_uid

MAGIC: Final = "bulkdl-lock"
_VERSION: Final = "1"
_NOTHING: Final = "-"
_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ESCAPED: Final = re.compile(r"\\(.)")
_ORIGINAL: Final = {"t": "\t", "n": "\n", "r": "\r"}
_MD5_BYTES: Final = 16
_SHA256_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class LockedSeries:
    """A Series of a lock. Texts that are not known are empty; `released` is an ISO date."""

    series_uid: SeriesUid
    study_uid: str = ""
    patient_id: str = ""
    collection: str = ""
    modality: str = ""
    license_name: str = ""
    license_uri: str = ""
    doi: str = ""
    released: str = ""


@dataclass(frozen=True, slots=True)
class LockedInstance:
    """An instance of a lock. `md5` and `sha256` are digests; `key` is None where it is the SOP Instance UID."""

    sop_uid: SopInstanceUid
    size_bytes: int
    md5: bytes | None
    sha256: bytes
    transfer_syntax_uid: str | None = None
    key: str | None = None


LockedGroup = tuple[LockedSeries, Sequence[LockedInstance]]
"""A Series, and its instances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHead:
    """The head of a lock. `archive` is the name and the address of the archive; `sha256` the digest of the rest.

    `release` is that of the archive's index, empty where it has none.
    """

    archive: str
    date: str
    series: int
    instances: int
    size_bytes: int
    sha256: str
    release: str = ""

    def settings(self) -> dict[str, str]:
        """The head as `manifest show` prints it."""
        values = {name: str(value) for name, value in asdict(self).items() if value != ""}
        return {name.removeprefix("size_"): value for name, value in values.items()}


def recognises(text: str) -> bool:
    """Whether `text` is a lock of any version."""
    return text.startswith(MAGIC)


def lock_lines(
    groups: Callable[[], Iterable[LockedGroup]], *, archive: str, date: str, release: str = ""
) -> Iterator[str]:
    """The lines of a lock. `groups` is called twice, because the digest comes first; both times it gives the same."""
    digest = hashlib.sha256()
    series = instances = size_bytes = 0
    for group in groups():
        series += 1
        instances += len(group[1])
        size_bytes += sum(instance.size_bytes for instance in group[1])
        digest.update("".join(_lines_of(group)).encode())
    head = (
        (MAGIC, _VERSION),
        ("archive", _escaped(archive)),
        ("date", date),
        ("series", series),
        ("instances", instances),
        ("bytes", size_bytes),
        *((("release", _escaped(release)),) if release else ()),
        ("sha256", digest.hexdigest()),
    )
    yield from (f"{name}\t{value}\n" for name, value in head)
    yield "\n"
    for group in groups():
        yield from _lines_of(group)


def _lines_of(group: LockedGroup) -> Iterator[str]:
    series, instances = group
    yield "\t".join(["series", *map(_escaped, astuple(series))]) + "\n"
    for one in instances:
        digests = (one.md5.hex() if one.md5 else _NOTHING, one.sha256.hex())
        place = (one.transfer_syntax_uid or _NOTHING, _escaped(one.key or ""))
        yield "\t".join([one.sop_uid, str(one.size_bytes), *digests, *place]) + "\n"


def read(text: str, remarks: Remarks) -> ManifestReading:
    """Read a lock as a manifest of its instances. Raises ManifestError: it is invalid, or its digest is another."""
    head, groups = read_lock(lines(text), remarks)
    settings = head.settings()
    return ManifestReading("lock", _rows(groups), remarks, settings)


def _rows(groups: Iterator[LockedGroup]) -> Iterator[ManifestRow]:
    for series, instances in groups:
        study_uid = StudyUid(series.study_uid) if series.study_uid else None
        for instance in instances:
            yield ManifestRow(
                collection=series.collection,
                patient_id=series.patient_id,
                study_uid=study_uid,
                series_uid=series.series_uid,
                sop_uid=instance.sop_uid,
            )


def read_lock(text: Iterable[str], remarks: Remarks) -> tuple[LockHead, Iterator[LockedGroup]]:
    """The head of a lock, from its lines, and its Series one by one.

    Raises:
        ManifestError: it is invalid. The groups raise it, too, at the latest at their end, where the digest is another
            than that of the head: the lock was changed, or is truncated.
    """
    numbered = enumerate(text, start=1)
    values: dict[str, str] = {}
    for _, line in numbered:
        name, _, value = line.rstrip("\r\n").partition("\t")
        if not name:
            break
        values[name] = _unescaped(value.strip())
    if values.get(MAGIC) != _VERSION:
        raise remarks.error(f"this lock has version {values.get(MAGIC, 'unknown')}; this bulkdl reads version 1", 1)
    try:
        head = LockHead(
            archive=values["archive"],
            date=values["date"],
            series=int(values["series"]),
            instances=int(values["instances"]),
            size_bytes=int(values["bytes"]),
            sha256=values["sha256"],
            release=values.get("release", ""),
        )
    except (KeyError, ValueError) as error:
        raise remarks.error(f"the head of the lock is incomplete: {error}") from error
    return head, _groups(numbered, head, remarks)


def _groups(numbered: Iterator[tuple[int, str]], head: LockHead, remarks: Remarks) -> Iterator[LockedGroup]:
    digest = hashlib.sha256()
    series: LockedSeries | None = None
    instances: list[LockedInstance] = []
    for number, line in numbered:
        digest.update(f"{line.rstrip(chr(13) + chr(10))}\n".encode())  # an editor may have changed the ends of lines
        values = line.rstrip("\r\n").split("\t")
        try:
            if values[0] == "series":
                if series is not None:
                    yield series, instances
                series, instances = _series(values), []
            else:
                instances.append(_instance(values))
        except (InvalidUid, ValueError, TypeError) as error:
            raise remarks.error(f"this is not a line of a lock: {error}", number) from error
    if digest.hexdigest() != head.sha256:
        raise remarks.error("the lock was changed or is truncated: its digest is not that of its content")
    if series is None:
        raise remarks.error("the lock has no series")
    yield series, instances


def _series(values: Sequence[str]) -> LockedSeries:
    _, uid, *texts = values
    found = LockedSeries(parse_series_uid(uid), *map(_unescaped, texts))
    if found.study_uid and not is_uid(found.study_uid):
        raise ValueError(f"{found.study_uid[:80]!r} is not a UID")
    return found


def _instance(values: Sequence[str]) -> LockedInstance:
    sop_uid, size, md5, sha256, syntax, key = values
    return LockedInstance(
        parse_sop_uid(sop_uid),
        int(size),
        None if md5 == _NOTHING else _digest(md5, _MD5_BYTES),
        _digest(sha256, _SHA256_BYTES),
        _unescaped(syntax) or None,
        _unescaped(key) or None,
    )


def _digest(text: str, length: int) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != length:
        raise ValueError(f"{text[:80]!r} is not a digest of {length} bytes")
    return digest


def _escaped(text: str) -> str:
    if text in {"", _NOTHING}:
        return f"\\{text}" if text else _NOTHING
    return "".join(_ESCAPES.get(character, character) for character in text)


def _unescaped(text: str) -> str:
    return "" if text == _NOTHING else _ESCAPED.sub(lambda found: _ORIGINAL.get(found[1], found[1]), text)
