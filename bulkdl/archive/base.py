"""The three questions that every archive answers: find Series, list their entries, open one entry or a whole Series.

An archive states in its `Capabilities` what else it can do. `find` and `list` repeat a failed request with the
archive's `Retrier`. `open` and `open_bundle` are one attempt each: only the caller knows what it has already written.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from bulkdl.errors import RequestFailed
from bulkdl.model.descriptions import NO_DESCRIPTIONS, Descriptions
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Entry, References, Series, SeriesSize
from bulkdl.model.selection import Selection
from bulkdl.runtime.attempts import Retrier

Take: TypeAlias = Callable[[Descriptions], Awaitable[None]]
"""What receives descriptions, in batches."""


class BundleForm(StrEnum):
    """The format in which an archive sends all instances of a Series in one response."""

    ZIP = "zip"
    MULTIPART = "multipart"  # multipart/related with parts of application/dicom: PS3.18 §8.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an archive can do beyond the three questions.

    `ranges`: `open` can send the rest of an entry. `lists_sop_uids`: its entries carry their SOP Instance UIDs.
    `checksums`: `checksum` knows the MD5 of an entry; `lists_checksums`: its entries, or those of a part of it, carry
    their sizes and MD5s; `series_checksums`: there is one for a whole Series.
    `asks_series_singly`: a question names one Series at most.
    `endpoints`: it has endpoints, for `query` and `describe`. `takes_key`, `takes_login`: it uses an API key,
    or the token of a login. `slides`: it has the slides that manifests name.
    """

    bundle: BundleForm | None = None
    ranges: bool = False
    lists_sop_uids: bool = True
    checksums: bool = False
    lists_checksums: bool = False
    series_checksums: bool = False
    asks_series_singly: bool = False
    endpoints: bool = False
    takes_key: bool = False
    takes_login: bool = False
    slides: bool = False

    @property
    def knows_md5s(self) -> bool:
        """Whether the MD5 of a file may ever be compared with one of the archive."""
        return self.checksums or self.series_checksums


@dataclass(frozen=True, slots=True)
class SeriesQuestion:
    """One question for Series: its criteria, and the UID of the Series if it names one.

    `reason` is why the archive has nothing for it, where it knows more than that. `sop_uid` is the instance whose
    Series is asked for.
    """

    criteria: Mapping[str, str]
    series_uid: SeriesUid | None = None
    reason: str | None = None
    sop_uid: SopInstanceUid | None = None

    def __str__(self) -> str:
        if self.sop_uid is not None:
            return f"instance {self.sop_uid}"
        words = (f"{name.replace('_', ' ')} {value}" for name, value in self.criteria.items())
        return ", ".join(words) or "the whole archive"


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """One batch of what `find` yields.

    `not_found` are the questions to which the archive has nothing. `failed` are those that it did not answer, each with
    its last error: what they would have found is not known. `release` names the release of the index that answered,
    where the archive has one. `descriptions` are what the same answers have of the Patients and Studies of these
    Series.
    """

    series: tuple[Series, ...] = ()
    not_found: tuple[SeriesQuestion, ...] = ()
    failed: tuple[tuple[SeriesQuestion, RequestFailed], ...] = ()
    release: str | None = None
    descriptions: Descriptions = NO_DESCRIPTIONS


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of one Series, in the archive's order, each once. `invalid_rows` counts rows that name no entry."""

    entries: tuple[Entry, ...] = ()
    invalid_rows: int = 0


@dataclass(frozen=True, slots=True)
class Rest:
    """A missing part of an object of `length` bytes: those from `start` on, up to `end` where that is given.

    `validator` identifies the object; without one any part of an object of this length is accepted. `length` is None
    while it is not known, and then `end` is given.
    """

    start: int
    length: int | None
    validator: str | None
    end: int | None = None


class ThreadedBody(Protocol):
    """A body that threads receive: what comes quickly is not copied through the event loop."""

    async def receive(self, take: Callable[[memoryview], None], at_most: int) -> int:
        """Pass what has arrived to `take`, which a thread calls and which may block; return how many bytes.

        It returns when nothing more has arrived, or `at_most` are reached; 0 at the end. A piece is valid during the
        call of `take`.

        Raises:
            RequestFailed: as `Body.chunks`; all bytes before it were passed and counted. What `take` raises.
        """


class Body(Protocol):
    """The body of a successful response while it is received.

    `length` is the number of bytes announced, or None. `start` is the position of the first byte in the object: more
    than 0 where the rest of an entry was requested and sent; `is_part` is True then. `validator` identifies the object
    (a strong entity tag or a date, RFC 9110 §8.8): two responses with the same validator have the same bytes; None if
    the archive sent none. `content_type` is the media type without parameters, in lower case; `headers` have names in
    any case. `arrived` is how many bytes have arrived so far, while `read` waits for all of them as well. `threaded` is
    the same body for threads, None if it comes through the event loop only.
    """

    length: int | None
    start: int
    is_part: bool
    validator: str | None
    content_type: str
    headers: Mapping[str, str]

    @property
    def arrived(self) -> int: ...

    @property
    def threaded(self) -> ThreadedBody | None: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes in pieces of any size.

        Raises:
            RequestFailed: the body ended early, or the archive sent nothing for too long.
        """

    async def read(self, at_most: int) -> bytes:
        """Return all bytes of a body that is meant to be small.

        Raises:
            RequestFailed: as `chunks`; or it is larger than `at_most` bytes.
        """


class Archive(Protocol):
    """One archive, open for one run.

    `name` is the name of its profile, or its address; `url` its base address. `retrier` limits and repeats requests.
    Every method may raise `RequestFailed` (its subclasses give the cause), `ArchiveUnreachable` and `Interrupted`.
    """

    name: str
    url: str
    capabilities: Capabilities
    retrier: Retrier

    @property
    def requests(self) -> int:
        """The number of HTTP requests sent so far, repeats and redirects included."""

    async def collections(self) -> tuple[str, ...]:
        """Return the names of all Collections that the caller may see."""

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        """Return the names of the Collections that a DOI stands for; None if the archive cannot be asked for one."""

    def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """Yield the Series that match `selection`, in batches as they arrive. A Series may come more than once.

        Raises:
            ArchiveRefused: the archive refuses the login, or everything.
        """

    async def describe(self, collection: str, take: Take, *, patient_id: str | None = None) -> None:
        """Pass what the archive says of a Collection beside its Series to `take`, with at most one request.

        `patient_id` is that of the only Patient of whom it is needed. `take` may get the same twice.
        """

    async def list(self, series: Series) -> Listing:
        """Return the entries of one Series. A list may be shorter than the archive's own count: the caller compares."""

    def open(
        self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None
    ) -> AbstractAsyncContextManager[Body]:
        """Request one entry, or the `rest` of it. Leaving the block ends the request.

        An archive that knows no ranges, or holds another object by now, sends the whole entry: see `Body.start`.
        """

    def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AbstractAsyncContextManager[Body]:
        """Request all instances of a Series, in the form that `capabilities.bundle` names."""

    async def references(self, series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
        """Return what annotation Series refer to, as far as the archive states it without sending them.

        Series of which it does not know are left out.
        """

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        """Return the bytes and the number of instances of a Series, None where the archive does not give them."""

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        """Return the MD5 of an entry, 16 bytes. One attempt; None if it fails, or if the archive does not know it."""

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        """Return the MD5 that stands for a whole Series, 16 bytes; None if the archive does not know it."""
