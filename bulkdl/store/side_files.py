"""Write the texts beside the images of a mirror, of which `side_names` has the names. Blocking.

They are replaced when the mirror changes. A file of such a name that another program wrote, or that was changed since,
is left alone.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bulkdl.errors import DiskError
from bulkdl.runtime.disk import BOOKKEEPING, disk_errors, open_new, sync_file, sync_folder
from bulkdl.store.files import MirrorFiles

_PARTIAL: Final = f"{BOOKKEEPING}/side-file.partial"


@dataclass(slots=True)
class SideFiles:
    """The texts of a mirror. `known` maps the path of each that was written to the SHA-256 of it, in hexadecimal.

    `left_alone` are those that another program wrote, or that were changed.
    """

    files: MirrorFiles
    known: Mapping[str, str]
    written: dict[str, str] = field(default_factory=dict)
    left_alone: list[str] = field(default_factory=list)

    def put(self, path: str, lines: Iterable[str]) -> None:
        """Bring the file at `path` to these lines, durably; a file that has them already is not touched.

        Raises:
            DiskError: it cannot be written.
        """
        final, partial = self.files.absolute(path), self.files.root / _PARTIAL
        digest = self._write(partial, lines)
        try:
            there = _digest(final)
            if there in {None, self.known.get(path)} and there != digest:
                if folder := path.rpartition("/")[0]:
                    self.files.ensure_folder(folder)
                _refuse_links(final.parent)
                with disk_errors("write", final):
                    sync_file(partial)
                    partial.replace(final)
                sync_folder(final.parent)
            elif there != digest:
                self.left_alone.append(path)
                return
            self.written[path] = digest
        finally:
            with disk_errors("remove", partial):
                partial.unlink(missing_ok=True)

    def _write(self, partial: Path, lines: Iterable[str]) -> str:
        hashing = hashlib.sha256()
        opener: Callable[[str, int], int] = lambda name, flags: open_new(name, flags, private=self.files.is_private)  # noqa: E731
        with disk_errors("write", partial), open(partial, "wb", opener=opener) as file:
            for line in lines:
                content = line.encode("utf-8", "replace")
                hashing.update(content)
                file.write(content)
        return hashing.hexdigest()

    def remove_others(self) -> None:
        """Remove what was written earlier and is not any more, such as that of a Collection that has moved."""
        for path, digest in self.known.items():
            final = self.files.absolute(path)
            if path not in self.written and path not in self.left_alone and _digest(final) == digest:
                self.files.remove([path])


def _digest(path: Path) -> str | None:
    """The SHA-256 of a regular file; None if nothing is there, empty for anything else."""
    with disk_errors("read", path):
        try:
            with open(path, "rb", opener=lambda name, flags: open_new(name, flags, private=False)) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        except OSError:
            if os.path.lexists(path):  # a folder or a link
                return ""
            raise


def _refuse_links(folder: Path) -> None:
    if folder.resolve() != folder:
        raise DiskError(f"{folder} is behind a link; no text is written there")
