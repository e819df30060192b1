"""Where an audit of the mirror stopped, kept in `.bulkdl/verify.json` so that the next one can go on from there.

An audit only reads the mirror, so it takes no lock and asks for no right to write: a bookmark that cannot be written
or read costs some time, and is never an error. Its content is the audit's own affair.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from bulkdl.runtime.disk import VERIFY_POSITION


def save_bookmark(root: Path, content: dict[str, Any]) -> None:
    """Keep `content`, what JSON can say, in place of what was kept before."""
    path = root / VERIFY_POSITION
    new = path.with_name(f"{path.name}.{os.getpid()}.new")  # two audits at once must not write one file
    try:
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()


def load_bookmark(root: Path) -> dict[str, Any] | None:
    """What was kept; None where nothing is, or nothing that can be read."""
    try:
        content = json.loads((root / VERIFY_POSITION).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def forget_bookmark(root: Path) -> None:
    """The audit came to its end."""
    with suppress(OSError):
        (root / VERIFY_POSITION).unlink()
