"""The files of the served folders: find them, read their headers, open them. Mirrors have a journal of their files.

`scan` decides which of them are served.
"""

import hashlib
import io
import json
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date, datetime
from fnmatch import translate
from pathlib import Path
from typing import Any, Final, TypeAlias

from bulkdl.dicom.header import Header, read_header
from bulkdl.errors import InvalidInstance
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance
from bulkdl.model.descriptions import CollectionDescription
from bulkdl.model.ids import is_plain_file
from bulkdl.model.records import Patient, Series, Study
from bulkdl.runtime.disk import JOURNAL, modified_ns
from bulkdl.store.walking import FoundKind, walk

KnownHead: TypeAlias = Callable[[Path, int, int], str | None]
"""The `FileFacts.head` of a file that an earlier scan read, if it still has this size and this time of modification."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)  # json.dumps makes a new one each time
_PAGE: Final = 5_000
_BUFFER_BYTES: Final = 1 << 15
_IN_DETAIL: Final = ("site", "sop_class_uid", "transfer_syntax_uid", "pixel_spacing_mm", "slice_thickness_mm")
# Opening a pipe must not block; Windows has only the last of these.
_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"))


def _from_header(kind: type[Patient | Study | Series]) -> dict[str, str]:
    """The fields of a record, and those of a header for them, which may have the name of the record before them."""
    header, prefix = {entry.name for entry in fields(Header)}, f"{kind.__name__.lower()}_"
    names = (entry.name for entry in fields(kind))
    sources = {name: next((n for n in (prefix + name, name) if n in header), None) for name in names}
    return {name: source for name, source in sources.items() if source is not None}


_FROM_HEADER: Final[Mapping[str, Mapping[str, str]]] = {
    **{kind.__name__.lower(): _from_header(kind) for kind in (Patient, Study, Series)},
    "extra": {name: name for name in _IN_DETAIL},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Information about a Collection that its files do not contain.

    `html` is the description in HTML, and `described` when it was written, where an archive said both.
    """

    description: str | None = None
    html: str | None = None
    citation: str | None = None
    license_name: str | None = None
    license_uri: str | None = None
    collection_uri: str | None = None
    released: date | None = None
    described: datetime | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """A folder to serve, without links in its path. `collection` is the Collection of files that do not name one.

    `only` are patterns for paths relative to the folder, with `/`; `*` also matches `/`. A file that several roots hold
    belongs to the first.
    """

    path: Path
    collection: str | None = None
    about: About = field(default_factory=About)
    only: tuple[str, ...] = ()

    @property
    def is_mirror(self) -> bool:
        """Whether the folder is a mirror, whose journal is used instead of the files."""
        return (self.path / JOURNAL).is_file()

    def described(self) -> dict[str, About]:
        """What the journal of a mirror has of its Collections, by their names in upper case.

        Raises:
            JournalError: it cannot be used.
        """
        if not self.is_mirror:
            return {}
        with Journal.open_readonly(self.path / JOURNAL) as journal:
            return {each.collection.upper(): about_of(each) for each in journal.collection_descriptions()}


def about_of(found: CollectionDescription) -> About:
    """What an archive says of a Collection."""
    moment = None
    with suppress(ValueError):
        moment = datetime.fromisoformat(found.updated or "")
    return About(
        description=found.description,
        html=found.html,
        citation=found.citation,
        license_name=found.license_name,
        license_uri=found.license_uri,
        collection_uri=found.uri,
        described=moment,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """The values of a servable file.

    `head` is a JSON object of what the instances of a Series have in common: the values for the records `patient`,
    `study` and `series`, `extra` for values without a field, and `journal` for the record of the Series in a journal,
    which takes precedence. None is left out; dates are ISO 8601. `is_numbered`: if the file has numbers, they are
    here.
    """

    series_uid: str
    sop_uid: str
    head: str
    instance_number: int | None = None
    acquisition_number: int | None = None
    md5: bytes | None = None
    is_numbered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that was found. `facts` are None until it is read; `reason` says why it cannot be served."""

    path: Path
    target: Path | None = None
    size_bytes: int = 0
    mtime_ns: int = 0
    facts: FileFacts | None = None
    reason: str | None = None


def find_files(root: Root, known_head: KnownHead) -> Iterator[FoundFile]:
    """The files of a root, in a stable order. Links that lead out of the folder are reported as unservable.

    Raises:
        JournalError: the journal of a mirror cannot be used.
    """
    if root.is_mirror:
        return _held_files(root.path, known_head)
    if not root.only:
        return _walk(root.path)
    wanted = re.compile("|".join(translate(pattern) for pattern in root.only))
    return (found for found in _walk(root.path) if wanted.match(found.path.relative_to(root.path).as_posix()))


def read_facts(path: Path) -> FileFacts:
    """Read the header of a file.

    Raises:
        InvalidInstance: the file cannot be served, and why.
    """
    header = _read(path)
    return FileFacts(
        series_uid=header.series_uid,
        sop_uid=header.sop_uid,
        head=dump(_values_of(header)),
        instance_number=header.instance_number,
        acquisition_number=header.acquisition_number,
    )


def head_number(database: sqlite3.Connection, head: str) -> int:
    """The id of a `FileFacts.head` in the catalogue."""
    digest = hashlib.blake2b(head.encode(), digest_size=16).digest()
    database.execute("INSERT OR IGNORE INTO head (digest, record) VALUES (?, ?)", (digest, head))
    return int(database.execute("SELECT id FROM head WHERE digest = ?", (digest,)).fetchone()[0])


def _read(path: Path) -> Header:
    try:
        with io.BufferedReader(open_unlinked(path), _BUFFER_BYTES) as file:
            return read_header(file)
    except OSError as error:
        raise InvalidInstance(f"not readable: {error.strerror or error}") from error


def dump(values: Mapping[str, Any]) -> str:
    """Values as the catalogue stores them."""
    return _ENCODER.encode(values)


def to_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not None, dates and times as ISO 8601."""
    return {
        name: value.isoformat() if isinstance(value, date | datetime) else value
        for name, value in values.items()
        if value is not None
    }


def _walk(folder: Path) -> Iterator[FoundFile]:
    for found in walk(folder):
        path = folder / found.path
        match found.kind:
            case FoundKind.FILE:
                yield FoundFile(path=path, size_bytes=found.size_bytes, mtime_ns=found.mtime_ns)
            case FoundKind.UNREADABLE:
                yield FoundFile(path=path, reason=f"not readable: {found.reason}")
            case FoundKind.LINK:
                yield from _linked(path, folder)


def _linked(path: Path, root: Path) -> Iterator[FoundFile]:
    try:
        target = Path(os.path.realpath(path, strict=True))
        status = target.stat()
    except OSError as error:
        yield FoundFile(path=path, reason=f"not readable: {error.strerror or error}")
        return
    if not target.is_relative_to(root):
        yield FoundFile(path=path, reason="a link that leads out of the folder")
    elif stat.S_ISREG(status.st_mode):
        yield FoundFile(path=path, target=target, size_bytes=status.st_size, mtime_ns=modified_ns(status))


def _values_of(header: Header) -> dict[str, dict[str, Any]]:
    return {
        kind: to_json({name: getattr(header, source) for name, source in sources.items()})
        for kind, sources in _FROM_HEADER.items()
    }


def _held_files(mirror: Path, known_head: KnownHead) -> Iterator[FoundFile]:
    """The files that the journal has. The values of Patient and Study are those in the first file of each Series."""
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        series_uid, head = "", ""
        after: tuple[int, str] | None = None
        while page := journal.held(after=after, limit=_PAGE):
            for held in page:
                if is_plain_file(held.path):
                    continue
                found = _as_it_lies(mirror, held)
                if held.series_uid != series_uid or (not head and found.reason is None):
                    series_uid, head = held.series_uid, ""
                    row = journal.find_series(held.series_uid)
                    if row is not None and found.reason is None:
                        known = known_head(found.path, found.size_bytes, found.mtime_ns)
                        head = _head_of_record(journal, row.series, found.path, known)
                if head and found.reason is None:
                    is_untouched = found.mtime_ns == held.mtime_ns
                    md5 = held.md5 if is_untouched else None
                    facts = FileFacts(
                        series_uid=held.series_uid, sop_uid=held.sop_uid, head=head, md5=md5, is_numbered=False
                    )
                    found = replace(found, facts=facts)
                if found.facts is not None or found.reason is not None:
                    yield found
            after = page[-1].series_id, page[-1].sop_uid


def _as_it_lies(mirror: Path, held: HeldInstance) -> FoundFile:
    """The file of an instance without its facts. Nothing outside the mirror is served, whatever its journal has."""
    path = mirror / held.path
    if ".." in path.parts or not path.is_relative_to(mirror):
        return FoundFile(path=path, reason="a path that leads out of the mirror")
    try:
        status = path.lstat()
    except OSError as error:
        return FoundFile(path=path, reason=f"not readable: {error.strerror or error}")
    if not stat.S_ISREG(status.st_mode):
        return FoundFile(path=path, reason="not a regular file")
    if status.st_size != held.size_bytes:
        return FoundFile(path=path, reason=f"{status.st_size} bytes, and the journal has {held.size_bytes}")
    return FoundFile(path=path, size_bytes=status.st_size, mtime_ns=modified_ns(status))


def _head_of_record(journal: Journal, record: Series, path: Path, known: str | None) -> str:
    """The values in the header of a file, or those `known` of it, with those of the journal's record.

    What the archive says of the Patient and the Study takes precedence, too.
    """
    if known is not None:
        values = json.loads(known)
    else:
        try:
            values = _values_of(_read(path))
        except InvalidInstance:
            values = {kind: {} for kind in _FROM_HEADER}
    of_series = to_json(asdict(record))
    for counted in ("series_uid", "image_count", "size_bytes"):  # counted from the served files instead
        of_series.pop(counted, None)
    described = {
        "patient": journal.find_patient(record.collection, record.patient_id),
        "study": journal.find_study(record.collection, record.patient_id, record.study_uid or ""),
    }
    parents = {kind: to_json(asdict(found)) for kind, found in described.items() if found is not None}
    values |= {kind: {**values[kind], **given} for kind, given in parents.items()}
    if (site := of_series.pop("site", None)) is not None:
        values["extra"] = {**values["extra"], "site": site}
    return dump({**values, "journal": {name: value for name, value in of_series.items() if value != ""}})


@dataclass(frozen=True, slots=True)
class ServedFile:
    """The file of an instance, as the last scan found it. `md5` is None until it is requested for the first time.

    `path` is a link if there is a `target`, which is the file itself; as of a `FoundFile`.
    """

    id: int
    path: Path
    target: Path | None
    series_uid: str
    sop_uid: str
    size_bytes: int
    mtime_ns: int
    instance_number: int | None
    acquisition_number: int | None
    md5: bytes | None


def open_served(file: ServedFile) -> io.FileIO:
    """Open a file for reading if it is the one that was scanned, by its place, its size and its time of modification.

    Raises:
        OSError: it is missing or has changed, or a link, which may be newer than the scan, leads to it.
    """
    return io.FileIO(_open_scanned(file))


def read_served(file: ServedFile) -> bytes:
    """The content of a short file, if it is the one that was scanned: as `open_served`, with fewer system calls.

    Raises:
        OSError: as `open_served`.
    """
    descriptor = _open_scanned(file)
    try:
        content = os.read(descriptor, file.size_bytes)
    finally:
        os.close(descriptor)
    if len(content) < file.size_bytes:
        raise OSError(f"{file.path} was truncated while it was read")
    return content


def _open_scanned(file: ServedFile) -> int:
    descriptor, status = _open(file.target or file.path)
    if (status.st_size, modified_ns(status)) != (file.size_bytes, file.mtime_ns):
        os.close(descriptor)
        raise OSError(f"{file.path} has changed since the scan, which found {file.size_bytes} bytes")
    return descriptor


def open_unlinked(path: Path) -> io.FileIO:
    """Open a regular file for reading. `path` is absolute.

    Raises:
        OSError: it cannot be opened, is not a regular file, or a link is in its path.
    """
    return io.FileIO(_open(path)[0])


def _open(path: Path) -> tuple[int, os.stat_result]:
    """The descriptor and the status of a regular file that no link leads to."""
    place = os.fspath(path)
    descriptor = os.open(place, os.O_RDONLY | _FLAGS)
    try:  # Linux knows where an open file is without links, other systems where its path leads
        location = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - for each instance that is sent
    except OSError:
        location = os.path.realpath(place)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and location == place:
        return descriptor, status
    os.close(descriptor)
    raise OSError(f"{place} is not a regular file, or a link leads to it")
