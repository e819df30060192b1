"""The body of a request that stores instances; the client itself is tested with `push`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

from bulkdl.archive.dicomweb.multipart import MultipartReader
from bulkdl.archive.dicomweb.store_client import SentFile, upload_of
from bulkdl.model.bundles import EntryData, EntryEnded
from bulkdl.model.ids import SeriesUid, SopInstanceUid


def sent(uid: str, *pieces: bytes) -> SentFile:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for piece in pieces:
            yield piece

    return SentFile(SopInstanceUid(uid), SeriesUid("1"), None, sum(map(len, pieces)), chunks)


async def test_a_body_has_its_length_and_each_file_as_a_part() -> None:
    files = {"1.1": (b"one",), "1.2": (b"t", b"wo\r\n--", b"\r\n"), "1.3": (b"three",)}
    for _ in range(2):
        upload = upload_of([sent(uid, *pieces) for uid, pieces in files.items()])
        body = b"".join([bytes(chunk) async for chunk in upload.chunks()])
        assert upload.length == len(body)
        assert re.fullmatch(r'multipart/related; type="application/dicom"; boundary="\w{40}"', upload.content_type)
        reader, parts = MultipartReader(upload.content_type), [b""]
        for event in (*reader.feed(body), *reader.close()):
            if isinstance(event, EntryData):
                parts[-1] += bytes(event.data)
            elif isinstance(event, EntryEnded):
                parts.append(b"")
        assert parts == [b"".join(pieces) for pieces in files.values()] + [b""]


def test_no_two_bodies_have_one_boundary() -> None:
    assert upload_of([sent("1.1", b"x")]).content_type != upload_of([sent("1.1", b"x")]).content_type
