"""Find the child processes of a process in `/proc`."""

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
