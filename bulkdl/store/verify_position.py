"""The position at which `verify` stopped, kept in `.bulkdl/verify.json` for the next one to continue from.

`verify` only reads the mirror, so it takes no lock and needs no right to write: a position that cannot be written or
read costs some time, and is never an error. `verify` alone knows what its content means.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from bulkdl.runtime.disk import VERIFY_POSITION


def save_position(root: Path, content: dict[str, Any]) -> None:
    """Replace the kept position with `content`, which JSON can represent."""
    path = root / VERIFY_POSITION
    new = path.with_name(f"{path.name}.{os.getpid()}.new")  # two processes must not write the same file
    try:
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()


def load_position(root: Path) -> dict[str, Any] | None:
    """The kept position; None if there is none that can be read."""
    try:
        content = json.loads((root / VERIFY_POSITION).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def forget_position(root: Path) -> None:
    """Remove the kept position."""
    with suppress(OSError):
        (root / VERIFY_POSITION).unlink()
