"""Find files that the journal calls held, and that are missing or have another size.

Each folder is listed once, and no file is read: a million files take some seconds. `verify` reads them.
"""

from collections.abc import Callable, Iterator
from typing import Final

from bulkdl.errors import InvalidInstance
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldFolder, Run
from bulkdl.model.records import InstanceKey
from bulkdl.store.files import MirrorFiles

_PAGE: Final = 64  # folders


def find_lost(
    files: MirrorFiles, journal: Journal, run: Run, is_stopped: Callable[[], bool]
) -> Iterator[dict[InstanceKey, str]]:
    """The lost files of the run's selection, or of everything, a folder at a time: their paths below the mirror.

    What lies in the place of a file is moved to quarantine first, because a file that is owed is adopted where it lies.
    Blocking; several threads may take a folder each. Raises DiskError.
    """
    after = 0
    while page := journal.held_folders(run, after=after, limit=_PAGE):
        for held in page:
            if is_stopped():
                return
            if lost := _lost_in(held, files):
                yield lost
        after = page[-1].series_id


def lost_names(held: HeldFolder, files: MirrorFiles) -> dict[str, int | None]:
    """The names of the files of a Series that are lost; with what lies there instead, in bytes. Raises DiskError."""
    lying = files.existing(held.folder) if held.files else {}
    return {name: lying.get(name) for _, name, size_bytes in held.files if lying.get(name) != size_bytes}


def _lost_in(held: HeldFolder, files: MirrorFiles) -> dict[InstanceKey, str]:
    names, lost = lost_names(held, files), {}
    for sop_uid, name, size_bytes in held.files:
        if name in names:
            path = f"{held.folder}/{name}"
            move_away(files, path, sop_uid, f"found {names[name]} bytes, expected {size_bytes}")
            lost[InstanceKey(held.series_uid, sop_uid)] = path
    return lost


def move_away(files: MirrorFiles, path: str, sop_uid: str, message: str) -> None:
    """Move what lies at `path` to quarantine, if anything does. Blocking. Raises DiskError if it cannot."""
    place = files.absolute(path)
    if place.is_symlink() or place.exists():
        details = {"asked_for": sop_uid, "error": InvalidInstance.code, "message": message}
        files.quarantine.keep(place, sop_uid=sop_uid, details=details)
