"""Store instances at a DICOMweb archive, by requests of STOW-RS (PS3.18 §10.5), as servers take them.

The length of a request is known beforehand, because older servers store nothing of a chunked one (observed with Orthanc
before its plugin 1.0). Its type and its boundary are quoted, as strict servers want them.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from bulkdl.archive.dicomweb.paths import studies_path
from bulkdl.archive.dicomweb.store_answers import (
    StoredInstance,
    is_of_instance,
    names_any,
    none_stored,
    read_answer,
)
from bulkdl.archive.http import HttpClient
from bulkdl.archive.request import Identity, Request, Upload
from bulkdl.errors import NotFound, RequestRejected
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.text import one_line, shortened

JSON: Final = "application/dicom+json"
_request: Final = partial(Request, identity=Identity.AUTHORIZATION, accept=JSON)
_BOUNDARY_BYTES: Final = 20
_HEADER: Final = b"\r\n--%s\r\nContent-Type: application/dicom\r\n\r\n"
_END: Final = b"\r\n--%s--\r\n"
_READ_STATUSES: Final = frozenset({202, 409})
"""Some instances, or none of them, were stored; the body says which, and why."""
_SHOWN_CHARACTERS: Final = 200
_MOST_ANSWER_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class SentFile:
    """One instance to store: `size_bytes` bytes, which `chunks` reads anew for each attempt.

    What `chunks` raises ends the request before its last byte was sent, so that the archive takes nothing of it.
    """

    sop_uid: SopInstanceUid
    series_uid: SeriesUid
    study_uid: StudyUid | None
    size_bytes: int
    chunks: Callable[[], AsyncGenerator[bytes, None]]


def upload_of(files: Sequence[SentFile]) -> Upload:
    """The body of a request for several instances. The first delimiter has no line break before it."""
    boundary = secrets.token_hex(_BOUNDARY_BYTES)
    header, end = _HEADER % boundary.encode(), _END % boundary.encode()
    length = sum(len(header) + file.size_bytes for file in files) + len(end) - len(b"\r\n")

    async def chunks() -> AsyncGenerator[bytes | memoryview, None]:
        before = header.removeprefix(b"\r\n")
        for file in files:
            async with aclosing(file.chunks()) as pieces:
                async for piece in pieces:
                    yield before + piece if before else piece  # a small file is one piece: one packet has all of it
                    before = b""
            before = header
        yield end

    return Upload(f'multipart/related; type="application/dicom"; boundary="{boundary}"', length, chunks)


class StoreClient:
    """Stores instances at the archive of `http`, whose base address is the root of DICOMweb.

    Both methods repeat a request as the archive's `Retrier` says, and raise as `HttpClient` does.
    """

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    async def store(self, files: Sequence[SentFile]) -> dict[str, StoredInstance]:
        """Send instances in one request; return what the answer says of each, by SOP Instance UID.

        Raises:
            RequestFailed: the archive refused the request as a whole, or did not answer it.
            What the chunks of a file raise.
        """
        sop_uids = [file.sop_uid for file in files]
        request = _request("store instances", "studies", upload=upload_of(files), read_statuses=_READ_STATUSES)

        async def once(_: int) -> dict[str, StoredInstance]:
            async with self.http.open(request) as body:
                content = await body.read(_MOST_ANSWER_BYTES)
            found = read_answer(content, sop_uids)
            if body.status == HTTPStatus.CONFLICT and not names_any(found):
                said = shortened(one_line(body.headers.get("Warning", "")), _SHOWN_CHARACTERS)  # where dcm4chee has it
                message = "the archive answered 409 Conflict, and names no instance"
                raise RequestRejected(message + (f": {said}" if said else ""), status=body.status)
            return found if body.status != HTTPStatus.CONFLICT else none_stored(found)

        found, _ = await self.http.retrier.attempt(files[0].sop_uid, once)
        return found

    async def holds(self, file: SentFile) -> bool:
        """Whether the archive has an instance, of which its answer did not say whether it is stored.

        False where it answers otherwise than with the attributes of that instance.
        """
        if file.study_uid is None:
            return False

        async def once(_: int) -> bytes:
            path = studies_path(file.study_uid or "", file.series_uid, file.sop_uid)
            request = _request("look for an instance", f"{path}/metadata")
            async with self.http.open(request) as body:
                return await body.read(_MOST_ANSWER_BYTES)

        try:
            return is_of_instance(await self.http.retrier.ask(file.sop_uid, once), file.sop_uid)
        except (NotFound, RequestRejected):
            return False
