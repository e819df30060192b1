"""The files of a mirror: where they are, its folders, and the steps of a commit (`commit` states their order).

Paths are relative to the mirror, with `/`. Everything here blocks; several threads may call at once. Symbolic links
below the mirror's root are neither written through nor followed; the root itself may be one.
"""

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from bulkdl.errors import MirrorUnwritable
from bulkdl.runtime import disk
from bulkdl.store.partials import Partials
from bulkdl.store.quarantine import Quarantine

_KNOWN_FOLDERS: Final = 4096
_NOT_NAMES: Final = frozenset({"", ".", ".."})


class MirrorFiles:
    """The files of the mirror at `root`. With `private`, new files and folders are for their owner alone (0600, 0700).

    A mirror that was made private stays so: its `.bulkdl` folder says it. Each process makes its own object. A method
    that cannot do what it says raises DiskError.
    """

    def __init__(self, root: Path, *, private: bool = False) -> None:
        self.root = root.resolve()
        private = private or disk.is_private(self.root / disk.BOOKKEEPING)
        self.journal_path = self.root / disk.JOURNAL
        self.partials = Partials(self.root / disk.PARTIAL, private=private)
        self.quarantine = Quarantine(self.root / disk.QUARANTINE, private=private)
        self.is_private = private
        self._folder_mode = 0o700 if private else 0o777
        self._known: set[str] = set()  # folders that exist and are synced; its operations are safe for threads

    def prepare(self) -> None:
        """Make the mirror's folder and the folders of `.bulkdl`, durably. Safe to repeat; changes no existing file."""
        missing = [folder for folder in (*reversed(self.root.parents), self.root) if not folder.exists()]
        for folder in missing:
            self._make_folder(folder, kept="nothing was begun")
        for relative in (disk.BOOKKEEPING, disk.PARTIAL, disk.QUARANTINE):
            self._ensure(relative)
        if self.is_private:
            self._close_to_others()

    def absolute(self, relative: str) -> Path:
        """The path of a committed file or folder, which is in the mirror and not in `.bulkdl`."""
        return Path(self.absolute_text(relative))

    def absolute_text(self, relative: str) -> str:
        """The same as a text: to make a `Path` takes longer than most system calls."""
        parts = relative.split("/")
        is_odd = not _NOT_NAMES.isdisjoint(parts) or "\\" in relative or "\0" in relative
        if is_odd or parts[0] == disk.BOOKKEEPING:
            raise MirrorUnwritable(f"{relative!a} is not a place for an instance in the mirror")
        return f"{self.root}/{relative}"

    def ensure_folder(self, relative: str) -> None:
        """Make and sync a folder and those above it. One that exists is synced too: its maker may have been killed."""
        if relative not in self._known:
            self.absolute(relative)
            self._ensure(relative)

    def rename_partial(self, name: str, relative: str) -> int:
        """Rename a synced partial file to its place, and return its mtime in nanoseconds.

        The file may be journalled only after `sync_folder`. `ensure_folder` comes first.
        """
        partial, final = self.partials.path_text(name), self.absolute_text(relative)
        with disk.disk_errors("put in place", final):
            mtime_ns = disk.modified_ns(os.lstat(partial))
            try:
                os.replace(partial, final)  # noqa: PTH105 - see `absolute_text`
            except FileNotFoundError:
                if (folder := relative.rpartition("/")[0]) == "":
                    raise
                self._known.clear()
                self._ensure(folder)
                os.replace(partial, final)  # noqa: PTH105 - see `absolute_text`
        return mtime_ns

    def mtime_ns(self, relative: str) -> int:
        """When a committed file was last modified, in nanoseconds."""
        path = self.absolute(relative)
        with disk.disk_errors("read", path):
            return disk.modified_ns(path.lstat())

    def sync_folder(self, relative: str) -> None:
        """Sync the entries of a folder; `""` is the mirror's own."""
        disk.sync_folder(self.absolute(relative) if relative else self.root)

    def existing(self, relative: str) -> dict[str, int]:
        """The regular files in a folder: names and sizes in bytes. Empty if the folder does not exist."""
        path = self.absolute(relative)
        with disk.disk_errors("read", path):
            try:
                with os.scandir(path) as entries:
                    return {
                        entry.name: entry.stat(follow_symlinks=False).st_size
                        for entry in entries
                        if entry.is_file(follow_symlinks=False)
                    }
            except (FileNotFoundError, NotADirectoryError):
                return {}

    def _close_to_others(self) -> None:
        """Make the folders that are the way to everything else, and the files of `.bulkdl`, private."""
        bookkeeping = self.root / disk.BOOKKEEPING
        for path in (self.root, bookkeeping, *bookkeeping.iterdir()):
            with disk.disk_errors("make private", path), suppress(FileNotFoundError):
                status = path.lstat()
                if status.st_mode & 0o077 and not stat.S_ISLNK(status.st_mode):
                    path.chmod(0o700 if stat.S_ISDIR(status.st_mode) else 0o600)

    def ensure_kept_folder(self, relative: str) -> None:
        """Make and sync a folder below `.bulkdl`, and those above it."""
        self._ensure(relative)

    def supersede(self, path: str, run_id: int) -> None:
        """Keep the file at `path` below `.bulkdl/superseded/<run>`, durably: the archive has another one now."""
        kept, place = f"{disk.SUPERSEDED}/{run_id}/{path}", self._behind_no_link(path)
        self._ensure(kept.rpartition("/")[0])
        with disk.disk_errors("keep the superseded", place), suppress(FileNotFoundError):
            place.replace(self.root / kept)
        disk.sync_folder((self.root / kept).parent)

    def superseded(self) -> tuple[int, int]:
        """How many superseded files are kept, and their bytes."""
        sizes = [path.lstat().st_size for path in (self.root / disk.SUPERSEDED).rglob("*") if path.is_file()]
        return len(sizes), sum(sizes)

    def remove_superseded(self) -> None:
        """Remove all superseded files."""
        with disk.disk_errors("remove", self.root / disk.SUPERSEDED), suppress(FileNotFoundError):
            shutil.rmtree(self.root / disk.SUPERSEDED)
        self._known = {known for known in self._known if not known.startswith(disk.SUPERSEDED)}

    def remove_empty(self, relative: str) -> None:
        """Remove a folder and those above it that are empty, the mirror's own excepted."""
        with suppress(OSError):  # it is not empty
            for folder in (self.absolute(relative), *self.absolute(relative).parents):
                if folder == self.root:
                    break
                with suppress(FileNotFoundError):
                    folder.rmdir()
        self._known.clear()

    def refuse_behind_link(self, relative: str) -> None:
        """Raise MirrorUnwritable if a folder is a link or behind one: its files are not the mirror's."""
        path = self.absolute(relative)
        if path.exists() and path.resolve() != path:
            raise MirrorUnwritable(f"{path} is behind a link; its files are left alone: move the link away")

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, and folders that are empty then."""
        for path in map(self._behind_no_link, paths):
            with disk.disk_errors("remove", path):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # a folder that is not empty stays
                for folder in path.relative_to(self.root).parents:
                    (self.root / folder).rmdir()
        self._known.clear()

    def _behind_no_link(self, relative: str) -> Path:
        path = self.absolute(relative)
        if path.parent.exists() and path.parent.resolve() != path.parent:
            raise MirrorUnwritable(f"{path.parent} is behind a link; its files are left alone: move the link away")
        return path

    def _ensure(self, relative: str) -> None:
        if relative in self._known:
            return
        parent = relative.rpartition("/")[0]
        if parent:
            self._ensure(parent)
        try:
            self._make_folder(self.root / relative)
        except MirrorUnwritable as error:
            if not parent or not isinstance(error.__cause__, FileNotFoundError):
                raise
            self._known.clear()  # the folder above was removed meanwhile, because it was empty
            self._ensure(parent)
            self._make_folder(self.root / relative)
        if len(self._known) >= _KNOWN_FOLDERS:
            self._known.clear()
        self._known.add(relative)

    def _make_folder(self, path: Path, kept: str = "everything finished is saved") -> None:
        with disk.disk_errors("make the folder", path, kept=kept):
            try:
                path.mkdir(mode=self._folder_mode)
            except FileExistsError as error:
                if not stat.S_ISDIR(path.lstat().st_mode):
                    raise MirrorUnwritable(
                        f"{path} is a link or a file where the mirror needs a folder; move it away, then resume"
                    ) from error
        disk.sync_folder(path.parent)
