"""Values between a process and one that it started: pickled, each with its length before it, over a pipe.

Only our own parent and children are ever at the other end; nothing here reads what came from outside.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, Final

PIPE_BYTES: Final = 1 << 22
_LENGTH: Final = struct.Struct(">I")


def packed(message: object) -> bytes:
    """A message as it goes over a pipe."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


async def receive(stream: asyncio.StreamReader) -> Any:
    """The next message; None when the other side has ended."""
    try:
        (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
        return pickle.loads(await stream.readexactly(length))  # noqa: S301 - from our own parent or child
    except asyncio.IncompleteReadError:
        return None


def answer_all(answer: Callable[[Any], object], questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer one question after the other, until there are no more. Blocking: the inside of a small process."""
    while len(head := questions.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        content = questions.read(length)
        if len(content) < length:
            return
        answers.write(packed(answer(pickle.loads(content))))  # noqa: S301 - from our own parent
        answers.flush()
