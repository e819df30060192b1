"""Small JSON files in `.bulkdl` that other processes read: where `verify` stopped, and how far a run is.

Each is a help, never a record: one that cannot be written or read costs some time, and is never an error. So they are
not synced, and writing them takes no lock.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bulkdl.runtime.disk import write_new


def save_state(root: Path, name: str, content: Mapping[str, Any], *, private: bool = False) -> None:
    """Replace the file `name` of the mirror at `root` by `content`, which JSON can represent."""
    path = root / name
    new = path.with_name(f"{path.name}.{os.getpid()}.new")  # two processes must not write the same file
    try:
        write_new(new, json.dumps(content).encode(), private=private)
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()


def load_state(root: Path, name: str) -> dict[str, Any] | None:
    """The content of the file; None if there is none that can be read."""
    try:
        content = json.loads((root / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def forget_state(root: Path, name: str) -> None:
    """Remove the file."""
    with suppress(OSError):
        (root / name).unlink()
