"""Find the processes that a process has started in `/proc`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def children_of(pid: int, module: str) -> list[int]:
    """The children of `pid` that run the Python module `module`."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # threads and processes may end meanwhile
            for child in (task / "children").read_text().split():
                with suppress(OSError):
                    if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                        found.append(int(child))
    return found


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):  # processes and threads end while we look
            for task in Path(f"/proc/{parent}/task").iterdir():
                with suppress(OSError):
                    found += [int(child) for child in (task / "children").read_text().split()]
    return found
