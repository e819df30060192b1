"""The files of a mirror as bodies to send: compared with the journal while they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, Generator
from typing import Final, NamedTuple

from bulkdl.archive.dicomweb.store_client import SentFile
from bulkdl.errors import FileDiffers
from bulkdl.journal.rows import HeldInstance
from bulkdl.model.ids import StudyUid
from bulkdl.runtime.attempts import Retrier
from bulkdl.runtime.disk import READ
from bulkdl.runtime.tasks import in_thread
from bulkdl.store.files import MirrorFiles

_PIECE_BYTES: Final = 1 << 19


class PushItem(NamedTuple):
    """An instance to send, and its Study, None where the journal does not know it."""

    held: HeldInstance
    study_uid: StudyUid | None


def sent_file(item: PushItem, files: MirrorFiles, retrier: Retrier) -> SentFile:
    """The file of an instance, read as fast as the rate limit allows.

    Reading raises FileDiffers before the last piece, if the file is not the one of the journal.
    """
    held = item.held

    async def chunks() -> AsyncGenerator[bytes, None]:
        pieces = _pieces(held, files.absolute_text(held.path))
        left = held.size_bytes
        try:
            while left:
                piece = await in_thread(next, pieces)
                left -= len(piece)
                async for part in retrier.paced(piece):
                    yield part
        finally:
            pieces.close()

    return SentFile(held.sop_uid, held.series_uid, item.study_uid, held.size_bytes, chunks)


def _pieces(held: HeldInstance, path: str) -> Generator[bytes, None, None]:
    """The bytes of a file. Blocking. FileDiffers: they are not those of the journal; the last piece is kept back."""
    hashing, left = hashlib.sha256(), held.size_bytes
    try:
        with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, READ)) as file:
            if (size_bytes := os.fstat(file.fileno()).st_size) != left:
                raise FileDiffers(f"its file has {size_bytes:,} bytes, the journal has {left:,}", sop_uid=held.sop_uid)
            while left:
                piece = file.read(min(left, _PIECE_BYTES))
                hashing.update(piece)
                left -= len(piece)
                is_altered = not left and held.sha256 not in {None, hashing.digest()}
                if is_altered or not piece:
                    raise FileDiffers("its file is altered: the journal has another SHA-256", sop_uid=held.sop_uid)
                yield piece
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileDiffers("its file is missing", sop_uid=held.sop_uid) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileDiffers(f"its file cannot be read: {reason}", sop_uid=held.sop_uid) from error
