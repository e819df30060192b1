"""Move the files of one Series to another folder of the mirror. Blocking; it can be repeated after a crash.

A rename is atomic, so after a crash each file is at its old place or at its new one. What is left at the old place is
moved by the next call. Files that the mirror does not know move along, unless their name is taken; texts beside the
images stay, because they are written anew. Nothing is overwritten.
"""

import os
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bulkdl.errors import MirrorUnwritable
from bulkdl.runtime.disk import disk_errors, sync_folder
from bulkdl.store.files import MirrorFiles
from bulkdl.store.side_names import is_side_file

_MOST_NAMED: Final = 20


@dataclass(slots=True)
class Moved:
    """How many files of the mirror were moved, how many others, and which of those stay: `left` has the first."""

    files: int = 0
    others: int = 0
    left_count: int = 0
    left: list[str] = field(default_factory=list)

    def add(self, other: "Moved") -> None:
        """Count the files of another folder, too."""
        self.files += other.files
        self.others += other.others
        self.left_count += other.left_count
        self.left += other.left[: _MOST_NAMED - len(self.left)]


def names_in(folder: Path) -> frozenset[str]:
    """The names of the files and links in a folder, folders left out; none if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return frozenset()


def in_the_way(files: MirrorFiles, before: str, after: str, names: Mapping[str, str]) -> str | None:
    """What lies where a file must move to: its path; None if every place is free. `names`: new ones by present ones."""
    source, target = files.absolute(before), files.absolute(after)
    if source.exists() and source.resolve() != source:
        return before  # a link, or behind one
    if (folder := _not_a_folder(files, after)) is not None:
        return folder
    with disk_errors("read", target):
        present = names_in(target)
        for name, new in names.items():
            if new in present and (source / name).exists() and not _is_same(source / name, target / new):
                return f"{after}/{new}"
    return None


def _not_a_folder(files: MirrorFiles, after: str) -> str | None:
    parts = after.split("/")
    for depth in range(1, len(parts) + 1):
        path = "/".join(parts[:depth])
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(files.absolute(path).lstat().st_mode):
                return path
    return None


def move_folder(files: MirrorFiles, before: str, after: str, names: Mapping[str, str], known: Collection[str]) -> Moved:
    """Move all files of the folder `before` to `after`, durably, and remove folders that are empty then.

    `names` are those that change, `known` those of the mirror's files. In the same folder only `names` are renamed.

    Raises:
        DiskError: a file cannot be moved; what was moved stays there, and the next call goes on.
    """
    moved = Moved()
    source, target = files.absolute(before), files.absolute(after)
    with disk_errors("move the files in", source):
        renamed = (name for name in names_in(source) if before != after or name in names)
        present = [name for name in renamed if not is_side_file(f"{before}/{name}")]
        if present:
            files.refuse_behind_link(before)
            files.ensure_folder(after)
            files.refuse_behind_link(after)
        for name in sorted(present):
            new = names.get(name, name)
            if os.path.lexists(target / new) and not _is_same(source / name, target / new):
                if name in known:
                    raise MirrorUnwritable(
                        f"{target / new} is in the way of {source / name}; nothing is lost: move it away, and run "
                        f"bulkdl relayout {files.root} again"
                    )
                moved.left_count += 1
                moved.left += [f"{before}/{name}"] if len(moved.left) < _MOST_NAMED else []
                continue
            (source / name).replace(target / new)
            moved.files += name in known
            moved.others += name not in known
        if target.exists():  # it may be left from a call that did not end
            sync_folder(target)
        if before != after and source.exists():
            sync_folder(source)
    files.remove_empty(before)
    return moved


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are one entry, on a file system that ignores case."""
    with suppress(OSError):
        is_alias = one.name.casefold() == other.name.casefold() and one != other
        return is_alias and one.samefile(other) and one.lstat().st_nlink == 1
    return False
