"""Views: a second tree of hard links to the files of a mirror, in another layout. A view is not a mirror.

`.bulkdl/view.jsonl` in a view has a line for each Series: its links, each with the inode number of its file. So a later
call changes only what differs, and removes no file that it did not make.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from bulkdl.errors import ConfigurationError, MirrorUnwritable
from bulkdl.model.reports.base import Refusal
from bulkdl.runtime.disk import VIEW, disk_errors
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import Layout
from bulkdl.verbs.mirrors.moves import Moves, Rearranged

_NO_LINKS: Final = frozenset({errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class SeriesLinks:
    """The links of one Series: inode numbers by the path below the view."""

    series_uid: str
    links: Mapping[str, int]

    def line(self) -> str:
        """The line in the list of a view."""
        return json.dumps({"series": self.series_uid, "links": self.links}, ensure_ascii=True) + "\n"


@dataclass(slots=True)
class View:
    """Brings the view at `files.root` to what a mirror holds. `files` are those of the view."""

    files: MirrorFiles
    mirror: MirrorFiles
    linked: int = 0
    removed: int = 0
    problems: list[Refusal] = field(default_factory=list)

    async def update(self, moves: Moves, layout: Layout) -> bool:
        """Link every file of the mirror to where `layout` wants it; returns whether it came to the end.

        Links of an earlier call that differ are removed first, because another file may take the place of one.
        """
        listed = self.files.root / VIEW
        partial, changed = listed.with_suffix(".partial"), listed.with_suffix(".changed")
        with disk_errors("write", listed), partial.open("w") as new, changed.open("w") as differing:
            before = _Merge(_read(listed))
            async for group in moves.planned(layout):
                await asyncio.to_thread(self._compare, group, before, new, differing)
            if moves.is_stopped():
                return False
            for gone in before.rest():
                self._remove(gone.links)
        with disk_errors("link to the files of", self.mirror.root):
            await asyncio.to_thread(self._link_all, changed)
            partial.replace(listed)
            changed.unlink()
        return True

    def _compare(self, group: list[Rearranged], before: _Merge, new: IO[str], differing: IO[str]) -> None:
        for each in group:
            uid, sources = each.row.series.series_uid, self._sources(each)
            wanted = SeriesLinks(uid, {path: inode for path, (_, inode) in sources.items()})
            for gone in before.until(uid):
                self._remove(gone.links)
            known = before.take(uid)
            new.write(wanted.line())
            if known is not None and known.links == wanted.links and all(map(self._is_there, wanted.links.items())):
                continue
            stale = known.links.items() - wanted.links.items() if known is not None else ()
            self._remove(dict(stale))
            differing.write(json.dumps([[source, path] for path, (source, _) in sources.items()]) + "\n")

    def _sources(self, each: Rearranged) -> dict[str, tuple[str, int]]:
        """The path of each link, with the file of the mirror and its inode number. Files that are missing have none."""
        found = {}
        for name, new in each.files.items():
            source = f"{each.move.before}/{name}"
            with suppress(FileNotFoundError):
                found[f"{each.move.after}/{new}"] = (source, self.mirror.absolute(source).lstat().st_ino)
        return found

    def _is_there(self, link: tuple[str, int]) -> bool:
        path, inode = link
        try:
            return self.files.absolute(path).lstat().st_ino == inode
        except FileNotFoundError:
            return False

    def _remove(self, links: Mapping[str, int]) -> None:
        """Remove links; a file that is not the one of the link any more stays."""
        ours = [path for path, inode in links.items() if self._is_there((path, inode))]
        self.files.remove(ours)
        self.removed += len(ours)

    def _link_all(self, changed: Path) -> None:
        with changed.open() as lines:
            for line in lines:
                for source, path in json.loads(line):
                    self._link(self.mirror.absolute(source), path)

    def _link(self, source: Path, path: str) -> None:
        place = self.files.absolute(path)
        self.files.ensure_folder(path.rpartition("/")[0])
        try:
            os.link(source, place, follow_symlinks=False)
        except FileExistsError:
            if not place.samefile(source):
                message = f"another file is there, in the way of a link to {source}: move it away, then repeat"
                self.problems.append(Refusal(path, "in-the-way", message))
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise _no_links(self.mirror.root, self.files.root) from error
        else:
            self.linked += 1


class _Merge:
    """The Series of an earlier list, which is in the order of their UIDs."""

    def __init__(self, listed: Iterator[SeriesLinks]) -> None:
        self._listed = listed
        self._next = next(listed, None)

    def until(self, series_uid: str) -> Iterator[SeriesLinks]:
        """Those before `series_uid`, which are not in the mirror any more."""
        while self._next is not None and self._next.series_uid < series_uid:
            yield self._next
            self._next = next(self._listed, None)

    def take(self, series_uid: str) -> SeriesLinks | None:
        """The links of this Series, if it is the next one."""
        if self._next is None or self._next.series_uid != series_uid:
            return None
        found, self._next = self._next, next(self._listed, None)
        return found

    def rest(self) -> Iterator[SeriesLinks]:
        """Those that are left."""
        while self._next is not None:
            yield self._next
            self._next = next(self._listed, None)


def _read(listed: Path) -> Iterator[SeriesLinks]:
    """The lines of an earlier list; one that cannot be read ends it: its links are compared with the files anyway."""
    with suppress(FileNotFoundError), listed.open() as lines:
        for line in lines:
            try:
                values: dict[str, Any] = json.loads(line)
                yield SeriesLinks(str(values["series"]), {str(path): int(n) for path, n in values["links"].items()})
            except (ValueError, KeyError, TypeError, AttributeError):
                return


def prepare_view(root: Path, mirror: MirrorFiles) -> MirrorFiles:
    """Make the folder of a view, or take an earlier one. Blocking.

    Raises:
        ConfigurationError: the folder is a mirror, in one, around this one, or has other files.
        MirrorUnwritable: it is on another file system, where hard links are not possible.
    """
    files = MirrorFiles(root, private=mirror.is_private)
    place, source = files.root, mirror.root
    if files.journal_path.exists():
        raise ConfigurationError(f"{root} is a mirror itself; choose another folder for the view")
    if place == source or place in source.parents or source in place.parents:
        raise ConfigurationError(f"one of {root} and the mirror {source} is inside the other; choose another folder")
    if not (place / VIEW).exists() and place.exists() and any(place.iterdir()):
        raise ConfigurationError(f"{root} is not empty and not a view; choose an empty folder")
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    if existing.stat().st_dev != source.stat().st_dev:
        raise _no_links(source, place)
    files.prepare()
    with disk_errors("make the view", place):
        (place / VIEW).touch(mode=0o600 if files.is_private else 0o666)
    return files


def _no_links(mirror: Path, view: Path) -> MirrorUnwritable:
    return MirrorUnwritable(
        f"hard links from {view} to {mirror} are not possible: they are on different file systems, or theirs has none; "
        "choose a folder on the file system of the mirror"
    )
