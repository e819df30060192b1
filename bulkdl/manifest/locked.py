"""Lock files: every instance of a data set with its size and checksums, so that anyone can rebuild and prove it.

Plain text, UTF-8, one fact a line, values separated by tabs, `-` for what is not known. The head has one `name value`
a line and ends with an empty line; `sha256` there is the digest of everything below it. Each Series is a line that
begins with `series`; its instances follow, without that word. Series and instances are sorted by UID, so two locks of
the same data differ in the head alone, and both writing and reading need the memory of one Series::

    bulkdl-lock     1
    archive         nbia https://nbia.cancerimagingarchive.net/nbia-api/services
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

A lock of a mirror has the SHA-256 of every instance. A lock that was made from an archive has what that states: a
line may lack its digests, its size, and where it has a key its SOP Instance UID. The head then counts the instances by
the strongest proof that they have (`only-md5`, `only-size`, `only-uid`), and the sizes that are missing in `bytes`
(`unknown-sizes`). The file may be compressed by Zstandard.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from bulkdl.errors import InvalidUid
from bulkdl.manifest.base import ManifestReading, ManifestRow, Remarks
from bulkdl.manifest.s5cmd import location_of
from bulkdl.model.formatting import counted
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, is_uid, parse_series_uid, parse_sop_uid
from bulkdl.model.records import Series

MAGIC: Final = "bulkdl-lock"
_VERSION: Final = "1"
_NOTHING: Final = "-"
_ENDS: Final = "\r\n"
_SERIES_VALUES: Final = 10
_INSTANCE_VALUES: Final = 6
_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_ESCAPED: Final = re.compile(r"\\(.)")
_ORIGINAL: Final = {"t": "\t", "n": "\n", "r": "\r"}
_MD5_BYTES: Final = 16
_SHA256_BYTES: Final = 32
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MOST_OF_SERIES: Final = 1_000_000  # instances, which are in memory together
_UNSIZED: Final = "unknown-sizes"
_UNPROVEN: Final = "the archive states neither size nor checksum, so nothing proves the bytes"


class Proof(StrEnum):
    """The strongest thing that a lock knows of the bytes of an instance."""

    SHA256 = "sha256"
    MD5 = "md5"
    SIZE = "size"
    UID = "uid"


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

    @classmethod
    def of(cls, series: Series) -> Self:
        """What a lock says of a Series."""
        return cls(
            series.series_uid,
            *(series.study_uid or "", series.patient_id, series.collection, series.modality or ""),
            *(series.license_name or "", series.license_uri or "", series.collection_uri or ""),
            series.released.isoformat() if series.released else "",
        )


@dataclass(frozen=True, slots=True)
class LockedInstance:
    """An instance of a lock; what is not known is None. `md5` and `sha256` are digests.

    `key` is None where it is the SOP Instance UID; one of the two is there.
    """

    sop_uid: SopInstanceUid | None
    size_bytes: int | None
    md5: bytes | None
    sha256: bytes | None
    transfer_syntax_uid: str | None = None
    key: str | None = None

    @property
    def name(self) -> str:
        """The SOP Instance UID, or the key."""
        return self.sop_uid or self.key or ""

    @property
    def proof(self) -> Proof:
        """What its bytes can be compared with."""
        if self.sha256 is not None:
            return Proof.SHA256
        if self.md5 is not None:
            return Proof.MD5
        return Proof.SIZE if self.size_bytes is not None else Proof.UID


LockedGroup = tuple[LockedSeries, Sequence[LockedInstance]]
"""A Series, and its instances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHead:
    """The head of a lock. `archive` is the name and the address of the archive; `sha256` the digest of the rest.

    `release` is that of the archive's index, empty where it has none. `weaker` counts the instances without a SHA-256
    by the proof that they have, and `unsized` those whose size is not in `size_bytes`.
    """

    archive: str
    date: str
    series: int
    instances: int
    size_bytes: int
    sha256: str
    release: str = ""
    weaker: Mapping[Proof, int] = field(default_factory=dict)
    unsized: int = 0

    def settings(self) -> dict[str, str]:
        """The head as `manifest show` prints it."""
        return {name: str(value) for name, value in self.lines()}

    def lines(self) -> Iterator[tuple[str, object]]:
        """The names and values of the head, in their order."""
        yield "archive", self.archive
        yield "date", self.date
        yield "series", self.series
        yield "instances", self.instances
        yield "bytes", self.size_bytes
        if self.unsized:
            yield _UNSIZED, self.unsized
        if self.release:
            yield "release", self.release
        yield from ((f"only-{proof}", count) for proof in Proof if (count := self.weaker.get(proof)))
        if count := self.weaker.get(Proof.UID):
            yield "note", f"only the UID or key of {counted(count, 'instance')} is known: {_UNPROVEN}"
        yield "sha256", self.sha256


@dataclass(slots=True)
class LockTotals:
    """What the head of a lock says of the rest, added up while that is written."""

    series: int = 0
    instances: int = 0
    size_bytes: int = 0
    unsized: int = 0
    proofs: Counter[Proof] = field(default_factory=Counter)
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def weaker(self) -> Mapping[Proof, int]:
        """How many instances have no SHA-256, by the proof that they have."""
        return {proof: count for proof in Proof if proof is not Proof.SHA256 and (count := self.proofs[proof])}

    def add(self, group: LockedGroup) -> str:
        """Count one Series; returns its lines."""
        text = "".join(_lines_of(group))
        self.series += 1
        self.instances += len(group[1])
        self.size_bytes += sum(instance.size_bytes or 0 for instance in group[1])
        self.unsized += sum(instance.size_bytes is None for instance in group[1])
        self.proofs.update(instance.proof for instance in group[1])
        self._digest.update(text.encode())
        return text

    @property
    def digest(self) -> str:
        """The SHA-256 of all lines after the head, in hexadecimal."""
        return str(self._digest.hexdigest())

    def head(self, *, archive: str, date: str, release: str = "") -> str:
        """The head of the lock, with the empty line at its end."""
        head = LockHead(
            archive=archive,
            date=date,
            series=self.series,
            instances=self.instances,
            size_bytes=self.size_bytes,
            sha256=self.digest,
            release=release,
            weaker=self.weaker,
            unsized=self.unsized,
        )
        named = [(MAGIC, _VERSION), *head.lines()]
        return "".join(f"{name}\t{_escaped(str(value))}\n" for name, value in named) + "\n"


def recognises(text: str) -> bool:
    """Whether `text` is a lock of any version."""
    return text.startswith(MAGIC)


def lock_lines(
    groups: Callable[[], Iterable[LockedGroup]], *, archive: str, date: str, release: str = ""
) -> Iterator[str]:
    """The lines of a lock. `groups` is called twice, because the digest comes first; both times it gives the same."""
    totals = LockTotals()
    for group in groups():
        totals.add(group)
    yield totals.head(archive=archive, date=date, release=release)
    for group in groups():
        yield from _lines_of(group)


def _lines_of(group: LockedGroup) -> Iterator[str]:
    series, instances = group
    yield "\t".join(["series", *map(_escaped, astuple(series))]) + "\n"
    for one in instances:
        size = _NOTHING if one.size_bytes is None else str(one.size_bytes)
        digests = (digest.hex() if digest else _NOTHING for digest in (one.md5, one.sha256))
        place = (one.transfer_syntax_uid or _NOTHING, _escaped(one.key or ""))
        yield "\t".join([one.sop_uid or _NOTHING, size, *digests, *place]) + "\n"


def read(text: Iterable[str], remarks: Remarks) -> ManifestReading:
    """Read a lock, by its lines, as a manifest of its instances.

    Raises ManifestError: it is invalid, or its digest is another.
    """
    head, groups = read_lock(text, remarks)
    return ManifestReading("lock", _rows(groups), remarks, head.settings())


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
                location=location_of(instance.key) if instance.key else None,
            )


def read_lock(text: Iterable[str], remarks: Remarks) -> tuple[LockHead, Iterator[LockedGroup]]:
    """The head of a lock, from its lines, and its Series one by one.

    Raises:
        ManifestError: it is invalid. The groups raise it, too, at the latest at their end, where the digest is another
            than that of the head: the lock was changed, or is truncated.
    """
    numbered = enumerate(text, start=1)
    values = _HeadValues()
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
            series=_number(values["series"]),
            instances=_number(values["instances"]),
            size_bytes=_number(values["bytes"]),
            sha256=_checked(values["sha256"]),
            release=values.get("release", ""),
            unsized=_number(values.get(_UNSIZED, "0")),
            weaker={proof: _number(values[name]) for proof in Proof if (name := f"only-{proof}") in values},
        )
    except ValueError as error:
        raise remarks.error(f"the head of the lock is invalid: {error}") from error
    return head, _groups(numbered, head, remarks)


class _HeadValues(dict[str, str]):
    def __missing__(self, name: str) -> str:
        raise ValueError(f"it has no {name}")


def _groups(numbered: Iterator[tuple[int, str]], head: LockHead, remarks: Remarks) -> Iterator[LockedGroup]:
    found = _LockContent()
    series: LockedSeries | None = None
    instances: list[LockedInstance] = []
    for number, line in numbered:
        found.digest.update(f"{line.rstrip(_ENDS)}\n".encode())  # an editor may have changed the ends of lines
        values = line.rstrip(_ENDS).split("\t")
        try:
            if values[0] == "series":
                if series is not None:
                    yield series, instances
                series, instances = found.add_series(_series(values), after=series), []
            else:
                instances.append(found.add_instance(_instance(values), of=series))
        except (InvalidUid, ValueError) as error:
            raise remarks.error(f"this is not a line of a lock: {error}", number) from error
        if len(instances) > _MOST_OF_SERIES:
            raise remarks.error(f"the series has more than {_MOST_OF_SERIES:,} instances", number)
    if (difference := found.difference_from(head)) is not None:
        raise remarks.error(f"the lock was changed or is truncated: {difference}")
    if series is None:
        raise remarks.error("the lock has no series")
    yield series, instances


@dataclass(slots=True)
class _LockContent:
    """What is below the head of a lock, added up as it is read."""

    digest: Any = field(default_factory=hashlib.sha256)
    series: int = 0
    instances: int = 0
    size_bytes: int = 0

    def add_series(self, series: LockedSeries, *, after: LockedSeries | None) -> LockedSeries:
        if after is not None and series.series_uid <= after.series_uid:
            raise ValueError("its series are not in the order of their UIDs, or one is there twice")
        self.series += 1
        return series

    def add_instance(self, instance: LockedInstance, *, of: LockedSeries | None) -> LockedInstance:
        if of is None:
            raise ValueError("it belongs to no series")
        self.instances += 1
        self.size_bytes += instance.size_bytes or 0
        return instance

    def difference_from(self, head: LockHead) -> str | None:
        if self.digest.hexdigest() != head.sha256:
            return "its digest is not that of its content"
        numbers = (self.series, self.instances, self.size_bytes)
        if numbers != (head.series, head.instances, head.size_bytes):
            has = f"{numbers[0]:,} series, {counted(numbers[1], 'instance')} and {numbers[2]:,} bytes"
            return f"it has {has}, and its head states other numbers"
        return None


def _series(values: Sequence[str]) -> LockedSeries:
    if len(values) != _SERIES_VALUES:
        raise ValueError(f"a line of a series has {_SERIES_VALUES} values with tabs between, not {len(values):,}")
    _, uid, *texts = values
    found = LockedSeries(parse_series_uid(uid), *map(_unescaped, texts))
    if found.study_uid and not is_uid(found.study_uid):
        raise ValueError(f"{found.study_uid[:80]!r} is not a UID")
    return found


def _instance(values: Sequence[str]) -> LockedInstance:
    if len(values) != _INSTANCE_VALUES:
        raise ValueError(f"a line of an instance has {_INSTANCE_VALUES} values with tabs between, not {len(values):,}")
    sop_uid, size, md5, sha256, syntax, key = values
    if sop_uid == _NOTHING == key:
        raise ValueError("it has neither a SOP Instance UID nor a key")
    return LockedInstance(
        None if sop_uid == _NOTHING else parse_sop_uid(sop_uid),
        None if size == _NOTHING else _number(size),
        _digest(md5, _MD5_BYTES),
        _digest(sha256, _SHA256_BYTES),
        _unescaped(syntax) or None,
        _unescaped(key) or None,
    )


def _checked(text: str) -> str:
    """The digest in the head, which names a file: exactly as it is written."""
    if _HEXADECIMAL.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is not a SHA-256")
    return text


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is not a number of at most 18 digits")
    return int(text)


def _digest(text: str, length: int) -> bytes | None:
    if text == _NOTHING:
        return None
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
