"""Quarantine: invalid files, kept in `.bulkdl/quarantine/` with the reason beside each, for a user to examine."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bulkdl.model.ids import is_uid
from bulkdl.runtime.disk import disk_errors, write_new
from bulkdl.store.safe_names import uid_component

_MOST_PER_INSTANCE: Final = 3


class Quarantine:
    """The quarantine in `folder`. With `private`, new files are for their owner alone (0600)."""

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        self.folder = folder
        self._private = private

    def keep(self, content: Path | bytes, *, sop_uid: str | None, details: Mapping[str, Any]) -> Path:
        """Move a file, or write bytes, to the quarantine; returns its new path. Blocking; DiskError if it fails.

        `details` (no secrets) go into a JSON file beside it. Keeps the last three of each instance. Not synced.
        """
        slots = self._slots(sop_uid)
        with disk_errors("quarantine", slots[0]):
            path = next((slot for slot in slots if not slot.exists()), None) or min(slots, key=_last_changed)
            if isinstance(content, bytes):
                write_new(path, content, private=self._private)
            else:
                content.replace(path)
                os.utime(path)  # the slots are reused in the order of these times
            self._note(path, details)
        return path

    def latest(self, sop_uid: str) -> tuple[Path, dict[str, Any]] | None:
        """The last file of an instance, and its details; None if there is none with readable details. Blocking."""
        with suppress(OSError, ValueError):
            path = max((slot for slot in self._slots(sop_uid) if slot.is_file()), key=_last_changed)
            details = json.loads(path.with_suffix(".json").read_bytes())
            return (path, details) if isinstance(details, dict) else None
        return None

    def renew(self, path: Path, details: Mapping[str, Any]) -> None:
        """Replace the details of a file. Blocking. Raises DiskError if they cannot be written."""
        with disk_errors("write", path):
            self._note(path, details)

    def _note(self, path: Path, details: Mapping[str, Any]) -> None:
        text = json.dumps(details, indent=2, ensure_ascii=False, default=str)
        note = f"{text}\n".encode("utf-8", "backslashreplace")
        write_new(path.with_suffix(".json"), note, private=self._private)

    def _slots(self, sop_uid: str | None) -> list[Path]:
        if sop_uid is None:
            stem = "unknown"
        elif is_uid(sop_uid):
            stem = uid_component(sop_uid)
        else:
            stem = f"entry-{hashlib.sha256(sop_uid.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
        return [self.folder / f"{stem}.{number}.dcm" for number in range(1, _MOST_PER_INSTANCE + 1)]


def _last_changed(path: Path) -> int:
    return path.stat().st_mtime_ns
