"""Files that are downloaded when they are needed: what the server asks of the cache of an archive.

The catalogue of such a server has all Series of the archive, and the files of those that were needed before. `verbs`
has the cache itself, because it downloads.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final, NamedTuple, Protocol, TypeAlias

from bulkdl.server.catalogue import ServedFile

Wanted: TypeAlias = str | Callable[[str], bool]
"""An instance: its SOP Instance UID, or, where that is not known, a function that is true for it."""
_AHEAD: Final = 4  # Series that are kept at once while one after the other is sent


class SeriesNeeded(Exception):
    """The files of a Series are needed, and the cache does not have all of them."""

    def __init__(self, series_uid: str) -> None:
        super().__init__(series_uid)
        self.series_uid = series_uid


class ListedInstance(NamedTuple):
    """An instance as the archive lists it."""

    sop_uid: str
    size_bytes: int
    md5: bytes
    mtime_ns: int


class Arriving(Protocol):
    """The files of a Series that is being downloaded. `count` is how many there are in all."""

    count: int

    async def more(self) -> Sequence[ServedFile]:
        """Return the files that have arrived since the last call, after waiting for one; none at the end.

        Raises:
            Unavailable: a file does not arrive (`responses`).
        """


class Supply(Protocol):
    """The cache of an archive. The Series that it is asked for are those of the catalogue."""

    @property
    def note(self) -> str:
        """A sentence for people: which archive this is the cache of, and whether it answers."""

    @property
    def lists_checksums(self) -> bool:
        """Whether the archive, or a part of it, lists the sizes and MD5s of instances that are not here (`listed`)."""

    def is_whole(self, series_uid: str) -> bool:
        """Whether the cache has all files of a Series. Blocking."""

    async def sop_uids(self, series_uid: str) -> Sequence[str] | None:
        """Return the SOP Instance UIDs of a Series as the archive lists them; None if its list does not have them.

        Raises:
            Unavailable: the archive does not list them.
        """

    async def listed(self, series_uid: str) -> Sequence[ListedInstance] | None:
        """Return the instances of a Series as the archive lists them; None without such a list, or if they are here.

        Raises:
            Unavailable: the archive does not list them.
        """

    def using(self, series_uid: str) -> AbstractAsyncContextManager[None]:
        """Download a Series, and keep it in the cache until the block ends.

        Raises:
            Unavailable: not everything arrives.
        """

    def using_one(self, series_uid: str, wanted: Wanted) -> AbstractAsyncContextManager[None]:
        """Download one instance of a Series, and keep it in the cache until the block ends.

        That the Series does not have it is not an error.

        Raises:
            Unavailable: it does not arrive.
        """

    def arriving(self, series_uid: str) -> AbstractAsyncContextManager[Arriving | None]:
        """As `using`, but the block begins with the first file; None if the cache has all of them."""

    def downloading(self, series_uid: str) -> AbstractAsyncContextManager[None]:
        """As `using`, but the block begins at once. Whether the Series arrives is not said."""


async def list_or_download(supply: Supply, series_uid: str, stack: AsyncExitStack) -> Sequence[ListedInstance] | None:
    """List the instances of a Series as the archive does, or download them and keep them until the `stack` ends: None.

    Raises:
        Unavailable: the archive does not list them, or not everything arrives.
    """
    listed = await supply.listed(series_uid)
    if listed is None:
        await stack.enter_async_context(supply.using(series_uid))
    return listed


class ArrivingFiles:
    """The files of a bundle while they arrive: `None` where the next is not there yet."""

    def __init__(self, arriving: Arriving) -> None:
        self._arriving = arriving
        self._files: deque[ServedFile] = deque()
        self._has_ended = False

    async def more(self) -> None:
        """Wait for more files.

        Raises:
            Unavailable: a file does not arrive.
        """
        arrived = await self._arriving.more()
        self._files.extend(arrived)
        self._has_ended = not arrived

    def __iter__(self) -> Iterator[ServedFile | None]:
        while self._files or not self._has_ended:
            yield self._files.popleft() if self._files else None


class NeededFiles:
    """The files of several Series, one Series after the other, of which a cache downloads what it does not have.

    `None` where the next file is not there yet. The Series whose files are given stays in the cache, and so do the next
    ones, which are downloaded meanwhile. `held` gives the files of a Series that is whole.
    """

    def __init__(
        self, supply: Supply, series_uids: Iterable[str], held: Callable[[str], Awaitable[Sequence[ServedFile]]]
    ) -> None:
        self._supply = supply
        self._remaining = iter(series_uids)
        self._held = held
        self._files: deque[ServedFile] = deque()
        self._kept: deque[tuple[str, AsyncExitStack]] = deque()  # the first is the one whose files are given
        self._arriving: Arriving | None = None
        self._has_begun = self._has_ended = False

    async def more(self) -> None:
        """Wait for more files.

        Raises:
            Unavailable: a file does not arrive.
        """
        while not self._files and not self._has_ended:
            arrived = await self._arriving.more() if self._arriving is not None else ()
            self._files.extend(arrived)
            if not arrived:
                await self._begin_next()

    async def _begin_next(self) -> None:
        if self._has_begun:
            await self._kept.popleft()[1].aclose()
        self._has_begun, self._arriving = True, None
        while len(self._kept) < _AHEAD and (uid := next(self._remaining, None)) is not None:
            self._kept.append((uid, stack := AsyncExitStack()))
            await stack.enter_async_context(self._supply.downloading(uid))
        self._has_ended = not self._kept
        if self._kept:
            series_uid, stack = self._kept[0]
            self._arriving = await stack.enter_async_context(self._supply.arriving(series_uid))
            self._files.extend(await self._held(series_uid) if self._arriving is None else ())

    async def aclose(self) -> None:
        """Keep nothing any longer."""
        self._has_ended = True
        while self._kept:
            await self._kept.popleft()[1].aclose()

    def __iter__(self) -> Iterator[ServedFile | None]:
        while self._files or not self._has_ended:
            yield self._files.popleft() if self._files else None
