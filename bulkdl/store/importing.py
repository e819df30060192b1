"""Import files from elsewhere on this machine: find them, link or copy them to a partial file, remove the originals.

`commit` then commits them like any other partial file. A hard link costs nothing; where links are not possible, as
between file systems, the bytes are copied. What cannot be read, written or removed raises DiskError.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from bulkdl.model.text import storable
from bulkdl.runtime.disk import disk_errors, sync_file, sync_folder
from bulkdl.store.files import MirrorFiles
from bulkdl.store.walking import FoundKind, is_bookkeeping, walk

_NO_LINKS: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP})


class ImportMode(StrEnum):
    """How files are imported. `move` removes the originals when the journal has the instances."""

    LINK = "link"
    COPY = "copy"
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of some folder; `shown` is its path relative to that folder, for people."""

    path: Path
    shown: str
    size_bytes: int


def source_files(folder: Path, *, but: Path) -> Iterator[SourceFile]:
    """The files below `folder`, by name, except `but` and `.bulkdl`; a folder that cannot be listed is one too."""
    for found in walk(folder, skip=lambda path: is_bookkeeping(path) or folder / path == but):
        if found.kind in {FoundKind.FILE, FoundKind.UNREADABLE}:
            yield SourceFile(folder / found.path, storable(found.path) or ".", found.size_bytes)


def bring(source: Path, partial: Path, *, may_link: bool) -> bool:
    """Make `partial` a synced link or copy of `source`, replacing an earlier one; returns whether it is a link."""
    with disk_errors("import", source):
        partial.unlink(missing_ok=True)
        if not (is_link := may_link and _link(source, partial)):
            with source.open("rb") as file, partial.open("xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
        sync_file(partial)
    return is_link


def bring_beside(source: Path, files: MirrorFiles, place: str) -> bool:
    """Bring a file of another mirror's `.bulkdl` to its `place` in this one, unless something is there. Blocking.

    Returns whether the file is in both then.
    """
    target = files.root / place
    with disk_errors("import", source):
        if target.exists():
            return target.stat().st_size == source.stat().st_size and target.read_bytes() == source.read_bytes()
        files.ensure_kept_folder(place.rpartition("/")[0])
        partial = files.partials.path(f"{sha256(place.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.joined")
        bring(source, partial, may_link=False)
        partial.replace(target)
    sync_folder(target.parent)
    return True


def _link(source: Path, partial: Path) -> bool:
    try:
        os.link(source, partial, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    except NotImplementedError:
        return False
    return True


def remove_taken(path: Path, folder: Path) -> None:
    """Remove the original of an imported file and the folders that become empty, except `folder`. Blocking."""
    with disk_errors("remove", path):
        path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder or folder not in parent.parents:
            return
        try:
            parent.rmdir()
        except OSError:  # it is not empty
            return
