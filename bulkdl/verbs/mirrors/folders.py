"""What a folder is to a verb: a mirror, a view of one, or inside one. And what is known of a mirror that is not opened.

Light to import, because `status` and other verbs that only read a journal need nothing else. Everything here blocks.
"""

from __future__ import annotations

import os
from pathlib import Path

from bulkdl.errors import ConfigurationError, JournalError, JournalUnreadable, MirrorLocked
from bulkdl.journal.journal import Journal
from bulkdl.runtime.disk import JOURNAL, LOCK_FILES, VIEW
from bulkdl.store.mirror_lock import holder


def refuse_inside_mirror(root: Path) -> None:
    """Raise ConfigurationError if `root` is inside another mirror, to which its files would be foreign. Blocking.

    And if it is a view of a mirror: the files of both are the same.
    """
    place = root.resolve()
    if (place / VIEW).exists():
        raise ConfigurationError(f"{root} is a view of a mirror, made by relayout --as-view; use the mirror itself")
    if not (place / JOURNAL).exists() and (outer := mirror_around(place)) is not None:
        raise ConfigurationError(f"{root} is inside the mirror {outer}; choose a folder outside of it")


def mirror_around(place: Path) -> Path | None:
    """The mirror that the folder `place` is in; None if no folder above it is a mirror."""
    return next((folder for folder in place.parents if os.path.lexists(folder / JOURNAL)), None)


def require_mirror(root: Path) -> Path:
    """The path of the journal of an existing mirror. Raises JournalUnreadable: there is none."""
    path = root / JOURNAL
    try:
        is_view, is_mirror = (root / VIEW).is_file(), path.is_file()
    except OSError as error:  # no permission, or a name that is too long
        raise JournalUnreadable(f"{root} cannot be read: {error.strerror}") from error
    if is_view:
        raise JournalUnreadable(f"{root} is a view of a mirror, made by relayout --as-view; use the mirror itself")
    if not is_mirror:
        raise JournalUnreadable(f"{root} is not a mirror: it has no {JOURNAL}")
    return path


def archive_of(mirror: Path) -> tuple[str, str]:
    """Name and address of the archive of the last run on a mirror; empty where there was no run. Blocking."""
    with Journal.open_readonly(require_mirror(mirror)) as journal:
        last = journal.last_run()
        return (last.archive_name, last.archive_url) if last else ("", "")


def kept_locks(root: Path) -> tuple[Path, ...]:
    """The lock files that a mirror was made from. Blocking."""
    return tuple(sorted((root / LOCK_FILES).glob("*.lock")))


def require_settled(root: Path, journal: Journal) -> None:
    """Raise MirrorLocked or JournalError while files of a mirror are on their way to another folder. Blocking."""
    if not journal.begun_moves():
        return
    if (process := holder(root)) is not None:
        raise MirrorLocked(f"{root} is in use by {process}, which renames its files: wait until it ends")
    raise JournalError(
        f"a relayout of {root} was interrupted, and some files are not where the journal has them; nothing is lost: to "
        f"finish it, run bulkdl relayout {root}"
    )
