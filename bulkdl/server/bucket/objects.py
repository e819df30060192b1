"""The objects of the bucket: their keys in order, their files, and their MD5s. Blocking.

A Series is the folder `UUID/`, an instance in it is `UUID.dcm`; both are UUIDv5 of the UIDs, so they stay the same. The
index is in the folder `index/`, which comes after all others.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bulkdl.model.ids import stable_uuid
from bulkdl.runtime.disk import disk_errors
from bulkdl.server.bucket.index import IndexFile
from bulkdl.server.catalogue import CatalogueView, ServedFile
from bulkdl.server.supply import ListedInstance, SeriesNeeded

_INDEX: Final = "index/"
_KEY: Final = re.compile(r"([0-9a-f-]{36})/([0-9a-f-]{36})\.dcm")
_NONE: Final[Mapping[str, Sequence[ListedInstance]]] = MappingProxyType({})
_UUID_CHARACTERS: Final = 36
_MOST_CACHED_FILES: Final = 200_000


@dataclass(frozen=True, slots=True)
class BucketObject:
    """One object: a served file, the file of the index, or the bytes of a text. `md5` is None until it is known.

    `source` is None for an instance that the archive of a cache lists, and that is not here.
    """

    key: str
    size_bytes: int
    mtime_ns: int
    md5: bytes | None
    source: ServedFile | Path | bytes | None

    @property
    def etag(self) -> str:
        """The entity tag: the MD5; or a text of another form where the file cannot be read any more."""
        return f'"{self.md5.hex()}"' if self.md5 is not None else f'"{self.mtime_ns:x}-{self.size_bytes:x}"'


@dataclass(frozen=True, slots=True)
class InstancePlace:
    """An instance of a Series, by the UUID in its key."""

    series_uid: str
    uuid: str

    def is_it(self, sop_uid: str) -> bool:
        """Whether it has this SOP Instance UID."""
        return stable_uuid(sop_uid) == self.uuid


class BucketObjects:
    """What one viewer sees of the catalogue, as objects. Thread-safe."""

    def __init__(
        self,
        view: CatalogueView,
        index: IndexFile,
        generation: Callable[[], int],
        is_whole: Callable[[str], bool] | None,
    ) -> None:
        """`is_whole` says of a cache whether it has all files of a Series; None if there is nothing to download."""
        self._view = view
        self._index = index
        self._generation = generation
        self._is_whole = is_whole
        self._cached_generation = generation()
        self._folders: OrderedDict[str, dict[str, BucketObject]] = OrderedDict()
        self._cached_files = 0
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._hashing = threading.Lock()

    def cached(self, key: str) -> BucketObject | None:
        """The object of a key, if it is known without asking the catalogue. Does not block."""
        folder = self._cached(key[:_UUID_CHARACTERS])
        return None if folder is None else folder.get(key)

    def find(self, key: str) -> BucketObject | None:
        """The object of a key, as far as a cache has it.

        Raises:
            DiskError: the catalogue cannot be read.
            IndexNeeded: it is of the index, which has to be made.
        """
        if key.startswith(_INDEX):
            return next((found for found in self.index() if found.key == key), None)
        if (place := self.instance(key)) is None:
            return None
        try:
            return self.folder(key[:_UUID_CHARACTERS]).get(key)
        except SeriesNeeded:
            file = next((file for file in self._view.files(place.series_uid) if place.is_it(file.sop_uid)), None)
        return None if file is None else _object(key, file)

    def instance(self, key: str) -> InstancePlace | None:
        """The instance that a key names, of a Series that exists and is not hidden."""
        found = _KEY.fullmatch(key)
        series_uid = self._series_uid(found[1]) if found is not None else None
        return InstancePlace(series_uid, found[2]) if found is not None and series_uid is not None else None

    def folder(
        self, uuid: str, listed: Mapping[str, Sequence[ListedInstance]] = MappingProxyType({})
    ) -> dict[str, BucketObject]:
        """The objects of a Series by key, in order; none if there is no such Series, or it is hidden.

        Of a Series that is among those `listed` they have no source.

        Raises:
            SeriesNeeded: a cache does not have all of them.
        """
        if (known := self._cached(uuid)) is not None:
            return known
        with self._reading:  # many who ask for objects of one Series wait for one query
            return known if (known := self._cached(uuid)) is not None else self._read_folder(uuid, listed)

    def _read_folder(self, uuid: str, listed: Mapping[str, Sequence[ListedInstance]]) -> dict[str, BucketObject]:
        generation = self._generation()
        series_uid = self._series_uid(uuid)
        if series_uid is not None and self._is_whole is not None and not self._is_whole(series_uid):
            if series_uid not in listed:
                raise SeriesNeeded(series_uid)
            return dict(sorted(_listed(uuid, one) for one in listed[series_uid]))
        files = self._view.files(series_uid) if series_uid is not None else ()
        keyed = sorted((f"{uuid}/{stable_uuid(file.sop_uid)}.dcm", file) for file in files)
        objects = {key: _object(key, file) for key, file in keyed}
        if objects:
            self._cache(uuid, objects, generation)
        return objects

    def _series_uid(self, uuid: str) -> str | None:
        return next((uid for found, uid in islice(self._view.uuids(uuid), 1) if found == uuid), None)

    def folders(self, first: str) -> Iterator[str]:
        """The UUIDs of all Series from `first` on, in order."""
        return (uuid for uuid, _ in self._view.uuids(first))

    def index(self) -> Iterator[BucketObject]:
        """The objects of the index, in order, each with its checksum behind it.

        Raises:
            DiskError: they cannot be read.
            IndexNeeded: they have to be made.
        """
        for name, path in self._index.paths().items():
            md5, sha256 = self._index.digests(path)
            with disk_errors("read", path):
                status = path.stat()
            line = f"{sha256}  {name}\n".encode()
            yield BucketObject(f"{_INDEX}{name}", status.st_size, status.st_mtime_ns, md5, path)
            yield BucketObject(f"{_INDEX}{name}.sha256", len(line), status.st_mtime_ns, _md5(line), line)

    def with_md5(self, found: BucketObject) -> BucketObject:
        """The object with its MD5, computed now if it is not known; without one if the file cannot be read.

        Raises:
            DiskError: the catalogue cannot be written.
        """
        if found.md5 is not None or not isinstance(found.source, ServedFile):
            return found
        with self._hashing:  # many who ask for one file wait for one computation
            known = self.cached(found.key) or found
            if known.md5 is not None:
                return known
            try:
                md5 = self._view.md5(found.source)
            except OSError:
                return found
        hashed = BucketObject(found.key, found.size_bytes, found.mtime_ns, md5, found.source)
        if (folder := self._cached(found.key[:_UUID_CHARACTERS])) is not None and folder.get(found.key) == found:
            folder[found.key] = hashed
        return hashed

    def _cached(self, uuid: str) -> dict[str, BucketObject] | None:
        with self._lock:
            if self._cached_generation != self._generation():
                self._cached_generation = self._generation()
                self._folders.clear()
                self._cached_files = 0
            if uuid in self._folders:
                self._folders.move_to_end(uuid)
            return self._folders.get(uuid)

    def _cache(self, uuid: str, objects: dict[str, BucketObject], generation: int) -> None:
        with self._lock:
            if uuid in self._folders or generation != self._cached_generation:
                return
            self._folders[uuid] = objects
            self._cached_files += len(objects)
            while self._cached_files > _MOST_CACHED_FILES and len(self._folders) > 1:
                self._cached_files -= len(self._folders.popitem(last=False)[1])


def _listed(uuid: str, one: ListedInstance) -> tuple[str, BucketObject]:
    key = f"{uuid}/{stable_uuid(one.sop_uid)}.dcm"
    return key, BucketObject(key, one.size_bytes, one.mtime_ns, one.md5, None)


def _object(key: str, file: ServedFile) -> BucketObject:
    return BucketObject(key, file.size_bytes, file.mtime_ns, file.md5, file)


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()
