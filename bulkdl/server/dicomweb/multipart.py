"""Bodies of several parts (`multipart/related`): the boundary, the headers of each part, and files as parts. Blocking.

Each answer has another boundary, of 128 random bits, which no pixel data can anticipate. Source: RFC 2046 §5.1.1, RFC
2387, PS3.18 §8.6.1.2.
"""

import io
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from bulkdl.dicom.part10 import read_meta
from bulkdl.errors import InvalidInstance
from bulkdl.model.ids import is_uid
from bulkdl.server.catalogue import ServedFile, open_served
from bulkdl.server.dicomweb.media_types import DICOM

_HEAD_BYTES: Final = 1 << 12
_PIECE_BYTES: Final = 1 << 18


class Multipart:
    """The frame of one body, whose parts are of the type `media`."""

    def __init__(self, media: str) -> None:
        self._boundary = secrets.token_hex(16)
        self.content_type = f'multipart/related; type="{media}"; boundary={self._boundary}'
        self._before = ""

    def head(self, media: str, size_bytes: int, location: str) -> bytes:
        """What precedes the content of a part. `media` has its parameters."""
        before, self._before = self._before, "\r\n"
        return (
            f"{before}--{self._boundary}\r\nContent-Type: {media}\r\nContent-Length: {size_bytes}\r\n"
            f"Content-Location: {location}\r\n\r\n"
        ).encode()

    @property
    def end(self) -> bytes:
        """What follows the last part."""
        return f"{self._before}--{self._boundary}--\r\n".encode()


def file_parts(
    multipart: Multipart, files: Iterable[ServedFile | None], location: Callable[[ServedFile], str]
) -> Iterator[bytes]:
    """The body of files as they are, in pieces. An empty piece stands for a file that has not arrived yet.

    Raises:
        OSError: a file cannot be read, or has changed since the scan.
    """
    pending = bytearray()
    for file in files:
        if file is None:
            if pending:
                yield bytes(pending)
                pending.clear()
            yield b""
            continue
        with open_served(file) as source:
            content = source.read(_HEAD_BYTES)
            syntax = syntax_of(content)
            media = DICOM if syntax is None else f"{DICOM}; transfer-syntax={syntax}"
            pending += multipart.head(media, file.size_bytes, location(file))
            left = file.size_bytes
            while content:
                pending += content
                left -= len(content)
                if len(pending) >= _PIECE_BYTES:
                    yield bytes(pending)
                    pending.clear()
                content = source.read(min(_PIECE_BYTES, left))
            if left:
                raise OSError(f"{file.path} was truncated while it was sent")
    yield bytes(pending) + multipart.end


def syntax_of(content: bytes) -> str | None:
    """The transfer syntax that the beginning of a file names; None if it cannot be read."""
    try:
        syntax = read_meta(io.BytesIO(content)).transfer_syntax_uid
    except InvalidInstance:
        return None
    return syntax if syntax is not None and is_uid(syntax) else None


def syntax_of_file(file: ServedFile) -> str | None:
    """The transfer syntax of a file.

    Raises:
        OSError: it cannot be read, or has changed since the scan.
    """
    with open_served(file) as source:
        return syntax_of(source.read(_HEAD_BYTES))
