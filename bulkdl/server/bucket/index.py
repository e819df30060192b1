"""The index of the bucket: every Series that a guest may see, in the form of the IDC's index.

It is kept beside the catalogue. Few Series are read in a thread; the many of an archive in a process, so that other
requests are answered meanwhile, and that it can be ended at any moment.
"""

import asyncio
import hashlib
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final

from bulkdl.archive.idc.index_file import collection_id, write_index, write_names
from bulkdl.dicom.tags import uid_names
from bulkdl.errors import BulkdlError, DiskError
from bulkdl.model.ids import stable_uuid
from bulkdl.runtime.disk import disk_errors
from bulkdl.runtime.processes import AnsweringProcess
from bulkdl.server.catalogue import Catalogue, CatalogueView, GroupedView, snapshot
from bulkdl.server.responses import ServerThreads, Unavailable

BUCKET: Final = "bulkdl"
_MODULE: Final = "bulkdl.server.bucket.index_main"
_FEW_SERIES: Final = 20_000  # in a thread: a second
_LOOK_SECONDS: Final = 0.5
_SECONDS: Final = 600.0
_FILES: Final = {"collections_index.parquet": "names", "idc_index.parquet": "index"}


class IndexNeeded(Exception):
    """The index has to be made first."""


class IndexFile:
    """The index of what `view` shows of a catalogue, and the names of its Collections.

    They are made when they are needed first, and again when the Series have changed.
    """

    def __init__(self, catalogue: Catalogue, view: CatalogueView, *, few_series: int = _FEW_SERIES) -> None:
        """`few_series` are made without a process."""
        self._catalogue = catalogue.path
        self._view = view
        self._few_series = few_series
        self._lock = threading.Lock()
        self._digests: dict[Path, tuple[bytes, str]] = {}
        self._making: asyncio.Task[None] | None = None
        self._waiting = 0

    def paths(self) -> dict[str, Path]:
        """The files by their names in the bucket, in order. Blocking.

        Raises:
            IndexNeeded: they do not exist, or are of other Series.
            DiskError: the catalogue cannot be read.
        """
        found = _paths(self._catalogue, self._view)
        if not all(path.exists() for path in found.values()):
            raise IndexNeeded
        return found

    async def make(self, threads: ServerThreads, is_left: Callable[[], bool]) -> None:
        """Make the files, once for all who wait. It is given up when the last of them `is_left`.

        Raises:
            DiskError: they cannot be made.
            Unavailable: it was given up.
        """
        self._waiting += 1
        try:
            if self._making is None or self._making.done():
                self._making = asyncio.create_task(self._make(threads))
            making = self._making
            while not (await asyncio.wait([making], timeout=_LOOK_SECONDS))[0]:
                if is_left():
                    raise Unavailable("the client has left, or the server ends", HTTPStatus.SERVICE_UNAVAILABLE)
            await making
        finally:
            self._waiting -= 1
            if not self._waiting and not making.done():
                making.cancel()
                with suppress(asyncio.CancelledError):
                    await making

    async def _make(self, threads: ServerThreads) -> None:
        if (await threads.do(self._view.totals)).series <= self._few_series:
            await threads.do(self._make_here)
            return
        try:
            async with asyncio.timeout(_SECONDS), AnsweringProcess(_MODULE) as process:
                answer = await process.ask((self._catalogue, self._view.hidden))
        except TimeoutError:
            answer = None
        finally:  # what an ended process leaves
            await asyncio.to_thread(_remove_unfinished, self._catalogue)
        if isinstance(answer, BulkdlError):
            raise answer
        if answer is None:
            raise DiskError("the index of the bucket cannot be made: its process has ended, or took too long")

    def _make_here(self) -> None:
        with self._lock:  # a thread that was given up goes on
            make_index(self._catalogue, self._view.hidden)

    def digests(self, path: Path) -> tuple[bytes, str]:
        """The MD5 of one of the files, and its SHA-256 in hexadecimal digits."""
        with self._lock:
            if path not in self._digests:
                with disk_errors("read", path), path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                    file.seek(0)
                    md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
                self._digests[path] = md5, sha256
            return self._digests[path]


def make_index(catalogue: Path, hidden: frozenset[str]) -> None:
    """Make the files of the index beside a catalogue, without the `hidden` Collections. Blocking.

    Raises:
        DiskError: they cannot be made.
    """
    with snapshot(catalogue, hidden) as view:
        names, index = found = list(_paths(catalogue, view).values())
        digest = index.stem.rpartition("-")[2]
        version = f"1.0.{int(digest[:8], 16)}-0-g{digest}"  # clients compare its numbers alone
        known = {**uid_names("SOP Class"), **uid_names("Transfer Syntax")}
        write_names({collection_id(name): name for name in view.collections()}, names, version=version)
        write_index(GroupedView(view, _location), index, version=version, uid_names=known)
    for old in catalogue.parent.glob(f"{catalogue.stem}.*-*.parquet"):
        if old not in found:
            old.unlink(missing_ok=True)


def _paths(catalogue: Path, view: CatalogueView) -> dict[str, Path]:
    shown = "\0".join([view.stamp(), *sorted(view.hidden)])
    digest = hashlib.sha256(shown.encode()).hexdigest()[:12]
    return {name: catalogue.with_name(f"{catalogue.stem}.{kind}-{digest}.parquet") for name, kind in _FILES.items()}


def _remove_unfinished(catalogue: Path) -> None:
    for rest in catalogue.parent.glob(f"{catalogue.stem}.*-*.parquet.*"):
        if rest.is_dir():
            shutil.rmtree(rest, ignore_errors=True)
        else:
            rest.unlink(missing_ok=True)


def _location(series_uid: str) -> str:
    return f"{BUCKET}/{stable_uuid(series_uid)}"
