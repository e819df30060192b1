"""The Series and instances that a path names, and their files, which a cache downloads when they are needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Final, Protocol, cast

from bulkdl.server.catalogue import CatalogueView, ServedFile
from bulkdl.server.dicomweb.exchange import DicomWebRequest, not_found
from bulkdl.server.supply import NeededFiles

_END: Final = object()


class RequestedFiles(Protocol):
    """Files in their order; None where the next is not here yet, which `more` waits for. To iterate may block."""

    def __iter__(self) -> Iterator[ServedFile | None]:
        """Begin with the first file that was not given."""

    async def more(self) -> None:
        """Wait for more files.

        Raises:
            Unavailable: a file does not arrive.
        """


class FilesHere:
    """Files that are here."""

    def __init__(self, files: Iterable[ServedFile]) -> None:
        self._files = iter(files)

    def __iter__(self) -> Iterator[ServedFile]:
        return self._files

    async def more(self) -> None:
        """There is nothing to wait for."""


@asynccontextmanager
async def requested_files(request: DicomWebRequest) -> AsyncIterator[RequestedFiles]:
    """The files of the Study, the Series or the instance in the path. A cache keeps them until the block ends.

    Raises:
        DicomWebRefusal: there is no such Study, Series or instance.
        Unavailable: the archive of a cache does not send the first file.
    """
    if request.uid("instance"):
        async with requested_instance(request) as file:
            yield FilesHere([file])
        return
    uids = await requested_series(request)
    do, view, supply = request.context.threads.do, request.view, request.context.supply
    if supply is None:
        yield FilesHere(file for uid in uids for file in view.files(uid))
        return
    held = cast("Callable[[str], Any]", partial(do, view.files))
    needed = NeededFiles(supply, uids, held)
    try:
        await needed.more()
        yield needed
    finally:
        await needed.aclose()


async def requested_series(request: DicomWebRequest) -> Sequence[str]:
    """The UIDs of the Series in the path, or of all of its Study, sorted.

    Raises:
        DicomWebRefusal: there is no such Study or Series.
    """
    return await request.context.threads.do(_series, request.view, request.uid("study"), request.uid("series"))


def _series(view: CatalogueView, study_uid: str, series_uid: str) -> Sequence[str]:
    found = sorted(view.series_uids(study_uid=study_uid, series_uid=series_uid or None))
    if not found:
        raise not_found("series" if series_uid else "study")
    return found


@asynccontextmanager
async def requested_instance(request: DicomWebRequest) -> AsyncIterator[ServedFile]:
    """The file of the instance in the path. A cache keeps it until the block ends.

    Raises:
        DicomWebRefusal: there is no such instance.
        Unavailable: the archive of a cache does not send it.
    """
    (series_uid,) = await requested_series(request)
    async with instance_of(request, series_uid, request.uid("instance")) as file:
        yield file


@asynccontextmanager
async def instance_of(request: DicomWebRequest, series_uid: str, sop_uid: str) -> AsyncIterator[ServedFile]:
    """The file of an instance of a Series that exists. Raises as `requested_instance`."""
    supply = request.context.supply
    keeping: AbstractAsyncContextManager[None] = nullcontext()
    if supply is not None:
        keeping = supply.using_one(series_uid, sop_uid)
    async with keeping:
        file = await request.context.threads.do(request.view.file_of, series_uid, sop_uid)
        if file is None:
            raise not_found("instance")
        yield file


async def each_file(request: DicomWebRequest, files: RequestedFiles) -> AsyncIterator[ServedFile]:
    """The files one after the other, without blocking.

    Raises:
        Unavailable: a file does not arrive.
        DiskError: the catalogue cannot be read.
    """
    remaining = iter(files)
    while (file := await request.context.threads.do(next, remaining, _END)) is not _END:
        if file is None:
            await files.more()
        else:
            yield cast("ServedFile", file)
