"""Where nothing answers: ports that refuse for as long as a test needs them, and a host whose name cannot exist."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# Longer than the 253 characters that DNS allows: the resolver refuses it, and asks no server.
UNKNOWN_HOST: Final = ".".join(["-".join(["unknown"] * 6)] * 6) + ".invalid"


def held_port(number: int = 0) -> socket.socket:
    """A socket that holds a port of this machine, so that no other program gets it, and refuses every connection."""
    # With the protocol named, asyncio sends at once on the connections of a server here; else small pieces wait for
    # the client to confirm those before, and a reset discards them.
    held = socket.socket(proto=socket.IPPROTO_TCP)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a server that has left may be open
    held.bind(("127.0.0.1", number))
    return held


def number_of(held: socket.socket) -> int:
    number: int = held.getsockname()[1]
    return number


@contextmanager
def refusing_port() -> Iterator[int]:
    """The number of a port that refuses every connection, until the end of the block."""
    with held_port() as held:
        yield number_of(held)
