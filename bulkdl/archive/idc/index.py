"""Where the index of IDC is: in the package `idc-index-data`, in a file or folder, or downloaded into the cache.

An index is a folder of Parquet files. IDC publishes them at `PUBLIC`, with the SHA-256 of each beside it in the form of
`sha256sum`; the package holds the same files. Only `idc_index.parquet` is needed; without the others names are IDC's
ids, releases have no dates, earlier versions of Series are not found, and analysis results have no descriptions.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bulkdl.archive.http import IDENTITY, SHORT_ANSWER_BYTES, HttpClient
from bulkdl.archive.request import Request
from bulkdl.errors import ConfigurationError, RequestFailed, UnexpectedAnswer
from bulkdl.runtime.disk import disk_errors

PUBLIC: Final = "https://storage.googleapis.com/idc-index-data-artifacts/current/release_artifacts/"

SERIES: Final = "idc_index.parquet"
PRIOR: Final = "prior_versions_index.parquet"
COLLECTIONS: Final = "collections_index.parquet"
RESULTS: Final = "analysis_results_index.parquet"
RELEASES: Final = "version_metadata_index.parquet"
REFERENCES: Final = {
    "seg_index.parquet": "segmented_SeriesInstanceUID",
    "rtstruct_index.parquet": "referenced_SeriesInstanceUID",
    "ann_index.parquet": "referenced_SeriesInstanceUID",
}
"""The tables of annotations, and the column with the Series that each refers to. The package does not have them."""
_OPTIONAL: Final = (PRIOR, COLLECTIONS, RESULTS, RELEASES, *REFERENCES)

_PACKAGE: Final = "idc_index_data"
_FOLDER: Final = "idc-index"
_SUFFIX: Final = ".parquet"
_DIGEST: Final = re.compile(rb"[0-9a-f]{64}")
_DIGEST_NAME: Final = "digest"
_ABSENT: Final = frozenset({401, 403, 404, 410})  # what a bucket may answer for what it does not have
_WRITE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class IndexFiles:
    """The files of one index: that of the Series, and those beside it that exist."""

    series: Path

    def beside(self, name: str) -> Path | None:
        """The file of that name in the same folder, None if there is none."""
        path = self.series.parent / name
        return path if path.is_file() else None


def is_address(index: str | None) -> bool:
    """Whether an index is at an address, from which it is downloaded."""
    return index is not None and "://" in index


def index_at(path: Path) -> IndexFiles:
    """The index in a folder, or in the file of the Series itself. Blocking.

    Raises:
        ConfigurationError: there is none.
    """
    file = path / SERIES if path.is_dir() else path
    if not file.is_file():
        raise ConfigurationError(f"there is no index of IDC at {file}: name its Parquet file, or the folder of it")
    return IndexFiles(file)


def installed_index() -> IndexFiles | None:
    """The index in the package `idc-index-data`, None if that is not installed. Blocking."""
    spec = find_spec(_PACKAGE)  # importing it would read all its descriptions
    places = spec.submodule_search_locations if spec is not None else None
    file = Path(next(iter(places or ()), "")) / SERIES
    return IndexFiles(file) if file.is_file() else None


def cached_index(address: str, cache: Path) -> IndexFiles | None:
    """The index that was downloaded from `address` into the folder `cache`, None if there is none. Blocking."""
    file = _cache_folder(address, cache) / SERIES
    return IndexFiles(file) if file.is_file() else None


def index_stamp(index: str | None, cache: Path | None) -> str:
    """A text that changes with the files of the index that a profile names; empty where none are here. Blocking."""
    if index is not None and not is_address(index):
        found = [index_at(Path(index))]
    else:
        downloaded = cached_index(index or PUBLIC, cache) if cache is not None else None
        installed = installed_index() if index is None else None
        found = [files for files in (installed, downloaded) if files is not None]
    beside = [files.beside(name) for files in found for name in (SERIES, COLLECTIONS, RESULTS)]
    paths = [path for path in [*(files.series for files in found), *beside] if path is not None]
    return "\n".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in dict.fromkeys(paths))


def _cache_folder(address: str, cache: Path) -> Path:
    return cache / _FOLDER / hashlib.sha256(address.encode()).hexdigest()[:16]


class IndexDownload:
    """Downloads the index at `address`, a folder of files or the file of the Series, into the folder `cache`."""

    def __init__(self, address: str, cache: Path, http: HttpClient) -> None:
        folder, _, name = address.rpartition("/")
        is_file = name.endswith(_SUFFIX)
        self._name = name if is_file else SERIES
        self._base = f"{folder}/" if is_file else f"{address.removesuffix('/')}/"
        self._address = address
        self._cache = cache
        self._http = http.at(self._base)

    async def current(self) -> IndexFiles:
        """The index as it is at the address now. It is not downloaded again while its checksum is the same."""
        cached = await asyncio.to_thread(cached_index, self._address, self._cache)
        digest = await self._digest(self._name)
        if cached is not None and digest is not None and await asyncio.to_thread(_has_digest, cached, digest):
            return cached
        return await self._download(digest)

    async def _download(self, digest: bytes | None) -> IndexFiles:
        """Download all files into a new folder, which then replaces the earlier one."""
        target = _cache_folder(self._address, self._cache)
        self._http.note(f"downloading the index of IDC, about 80 MB, from {self._base} to {target}")
        with disk_errors("write the index of IDC to", target):
            partial = Path(await asyncio.to_thread(_new_folder, target.parent))
            try:
                await self._file(self._name, partial / SERIES, digest)
                for name in _OPTIONAL:
                    await self._optional(name, partial / name)
                await asyncio.to_thread(_put_in_place, partial, target, digest)
            finally:
                await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        return IndexFiles(target / SERIES)

    async def _optional(self, name: str, path: Path) -> None:
        try:
            await self._file(name, path, await self._digest(name))
        except RequestFailed as error:
            if error.status not in _ABSENT:
                raise

    async def _digest(self, name: str) -> bytes | None:
        """The SHA-256 that the archive publishes for a file, None if it does not."""
        request = Request(f"{name}.sha256", f"{name}.sha256")
        try:
            content = await self._http.retrier.ask(
                f"the checksum of {name}", lambda _: self._http.read_once(request, at_most=SHORT_ANSWER_BYTES)
            )
        except RequestFailed as error:
            if error.status not in _ABSENT:
                raise
            return None
        found = _DIGEST.match(content[1].strip().lower())
        if found is None:
            raise UnexpectedAnswer(f"{self._base}{name}.sha256 is not a checksum")
        return bytes.fromhex(found[0].decode())

    async def _file(self, name: str, path: Path, digest: bytes | None) -> None:
        async def once(_: int) -> bytes:
            checksum = hashlib.sha256()
            async with self._http.open(Request(name, name), headers=IDENTITY) as body:
                with path.open("wb", buffering=_WRITE_BYTES) as file:
                    async for chunk in body.chunks():
                        checksum.update(chunk)
                        await asyncio.to_thread(file.write, chunk)
            if digest is not None and checksum.digest() != digest:
                raise UnexpectedAnswer(f"{self._base}{name} does not have the SHA-256 that is published for it")
            return checksum.digest()

        await self._http.retrier.ask(name, once)


def _new_folder(parent: Path) -> str:
    parent.mkdir(parents=True, exist_ok=True)
    return tempfile.mkdtemp(prefix="partial-", dir=parent)


def _put_in_place(partial: Path, target: Path, digest: bytes | None) -> None:
    (partial / _DIGEST_NAME).write_bytes(digest or b"")
    if target.exists():
        target.rename(partial / "before")
    os.replace(partial, target)  # noqa: PTH105 - the same, and it says that nothing may be there
    shutil.rmtree(target / "before", ignore_errors=True)


def _has_digest(cached: IndexFiles, digest: bytes) -> bool:
    file = cached.beside(_DIGEST_NAME)
    return file is not None and file.read_bytes() == digest
