"""Only the necessary: receive, hash, parse, write, sync, rename. What no program with these guarantees does without.

`python -m tests.benchmarks.floor LINES OUT [--md5] [--trust PEM]`: each line is an address and a path below OUT. A
process for each core reads one response after the other from one connection. It does no retries and keeps no journal,
and knows every address at its start.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from bulkdl.dicom.validation import validate
from bulkdl.dicom.without_numpy import disable_numpy
from bulkdl.model.settings import ValidationLevel

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


def fetch_all(lines: Sequence[str], *, out: Path, with_md5: bool, trust: str | None) -> None:
    """Fetch every line's address to its path, one after the other."""
    made = set[Path]()
    with connection(lines[0].split()[0], trust) as sock:
        for line in lines:
            address, path = line.split()
            content = receive(sock, address)
            hashlib.sha256(content).digest()
            if with_md5:
                hashlib.md5(content, usedforsecurity=False).digest()
            validate(content, level=ValidationLevel.STRUCTURE)
            target = out / path
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            write(target, content)


@contextmanager
def connection(address: str, trust: str | None) -> Iterator[socket.socket]:
    """A connection to the host of `address`, with TLS for https."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "http":
            yield plain
            return
        context = ssl.create_default_context(cafile=trust)
        with context.wrap_socket(plain, server_hostname=parts.hostname) as encrypted:
            yield encrypted


def receive(sock: socket.socket, address: str) -> memoryview:
    """The body of the response, received into one buffer."""
    parts = urlsplit(address)
    sock.sendall(f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    head = b""
    while _END_OF_HEAD not in head:
        received = sock.recv(1 << 14)
        if not received:
            raise SystemExit(f"the connection was closed: {address}")
        head += received
    head, _, first = head.partition(_END_OF_HEAD)
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"{head.splitlines()[0].decode()}: {address}")
    length = int(head.lower().partition(_LENGTH)[2].split()[0])
    if len(first) == length:
        return memoryview(first)
    body = bytearray(length)
    body[: len(first)] = first
    view, filled = memoryview(body), len(first)
    while filled < length:
        received_bytes = sock.recv_into(view[filled:])
        if not received_bytes:
            raise SystemExit(f"the body is short: {address}")
        filled += received_bytes
    return view


def write(target: Path, content: memoryview) -> None:
    """Write, sync, and rename."""
    unfinished = target.with_suffix(".part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT, 0o644)
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)
    os.close(descriptor)
    unfinished.rename(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--md5", action="store_true")
    parser.add_argument("--trust")
    given = parser.parse_args()
    disable_numpy()
    lines, cores = given.lines.read_text().splitlines(), os.cpu_count() or 1
    shares = [lines[number::cores] for number in range(min(cores, len(lines)))]
    work = partial(fetch_all, out=given.out, with_md5=given.md5, trust=given.trust)
    with ProcessPoolExecutor(len(shares)) as processes:
        list(processes.map(work, shares))


if __name__ == "__main__":
    main()
