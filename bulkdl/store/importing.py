"""Import files from elsewhere on this machine: find them, link or copy them to a partial file, remove the originals.

`commit` then commits them like any other partial file. A hard link costs nothing; where links are not possible, as
between file systems, the bytes are copied. What cannot be read, written or removed raises DiskError.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from bulkdl.model.text import storable
from bulkdl.runtime.disk import disk_errors, sync_file, sync_folder
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from bulkdl.store.walking import FoundKind, is_bookkeeping, walk

_NO_LINKS: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP})


class ImportMode(StrEnum):
    """How files are imported. `move` removes the originals when the journal has the instances."""

    LINK = "link"
    COPY = "copy"
    MOVE = "move"


class SourceFile(NamedTuple):
    """A file of some folder; `shown` is its path relative to that folder, for people."""

    path: str
    shown: str
    size_bytes: int


class ImportJob(NamedTuple):
    """A file to import: the path of its source, the name of a partial file for it, and its place in the mirror."""

    source: str
    partial: str
    place: str


def source_files(folder: Path, *, but: Path) -> Iterator[SourceFile]:
    """The files below `folder`, by name, except `but` and `.bulkdl`; a folder that cannot be listed is one too."""
    for found in walk(folder, skip=lambda path: is_bookkeeping(path) or folder / path == but):
        if found.kind in {FoundKind.FILE, FoundKind.UNREADABLE}:
            shown = found.path if found.path.isascii() else storable(found.path)
            yield SourceFile(f"{folder}/{found.path}", shown or ".", found.size_bytes)


def bring(source: Path, partial: Path, *, may_link: bool) -> bool:
    """Make `partial` a synced link or copy of `source`, replacing an earlier one; returns whether it is a link."""
    with disk_errors("import", source):
        partial.unlink(missing_ok=True)
        is_link = _take(source, partial, may_link=may_link)
        sync_file(partial)
    return is_link


def import_files(files: MirrorFiles, jobs: Sequence[ImportJob], *, may_link: bool) -> list[int | None]:
    """Import many files with few syncs, as links or copies, in the order of `commit`. Blocking.

    Gives the mtime of each file in nanoseconds, when a power cut takes none of them away; None where something else
    lies at its place, which stays as it is. A source may lie at its place already.

    Raises:
        DiskError: a file cannot be imported; others may be in place by then, and importing all again goes on.
    """
    commits: list[CommitJob] = []
    to_sync: list[str] = []
    for job in jobs:
        place = files.absolute_text(job.place)
        if job.source == place:
            _sync(place)  # alone, because it may be on another file system
            partial = None
        elif os.path.lexists(place):
            continue
        else:
            partial = job.partial
            _bring(files, job, may_link=may_link)
            to_sync.append(partial)
        commits.append(CommitJob(job.place, partial))
    files.partials.sync(to_sync)
    commit(files, commits)
    for done in commits:
        if done.error is not None:
            raise done.error
    placed = {done.path: done.mtime_ns for done in commits}
    return [placed.get(job.place) for job in jobs]


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


def _sync(place: str) -> None:
    with disk_errors("sync", place):
        sync_file(place)


def _bring(files: MirrorFiles, job: ImportJob, *, may_link: bool) -> None:
    """Make the partial file of a job, not synced."""
    partial = files.partials.path_text(job.partial)
    with disk_errors("import", job.source):
        try:
            _take(job.source, partial, may_link=may_link)
        except FileExistsError:  # of a process that died
            Path(partial).unlink()
            _take(job.source, partial, may_link=may_link)


def _take(source: str | Path, partial: str | Path, *, may_link: bool) -> bool:
    """Make a new file a link or a copy of another one; returns whether it is a link."""
    if may_link and _link(source, partial):
        return True
    with Path(source).open("rb") as file, Path(partial).open("xb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
    return False


def _link(source: str | Path, partial: str | Path) -> bool:
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
