"""What the verbs share: which archive, a mirror opened for work, a clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bulkdl.archive.profiles import DEMO, Profile, find_profile
from bulkdl.errors import JournalUnreadable
from bulkdl.journal.thread import JournalThread, open_journal_thread
from bulkdl.model.access import ArchiveChoice
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.files import MirrorFiles
from bulkdl.store.lock import MirrorLock

FAILURES_TOLD: Final = 1_000
"""How many failures a report names; the journal has all of them."""


@asynccontextmanager
async def find_archive(choice: ArchiveChoice) -> AsyncIterator[Profile]:
    """The profile of the chosen archive. The demonstration archive is started, and lives as long as the block.

    Raises:
        ConfigurationError: no such profile.
    """
    if choice.name != DEMO:
        yield find_profile(choice.name, choice.profiles)
        return
    from bulkdl.verbs.serve import serving  # noqa: PLC0415 - late: only the demonstration wants a server

    async with serving((), demo=True, cache=choice.cache) as served:
        address = find_profile(served.url)
        yield Profile(DEMO, address.url, address.kind)


@asynccontextmanager
async def open_mirror(
    root: Path, verb: str, *, private: bool = False
) -> AsyncIterator[tuple[MirrorFiles, JournalThread]]:
    """The files and the journal of a mirror, made where they are not there, for this process alone.

    Raises:
        MirrorLocked: another process works on it.
        DiskError, JournalError: it cannot be used.
    """
    files = MirrorFiles(root, private=private)
    files.prepare()
    with MirrorLock(files.root, verb, private=private):
        files.partials.discard_stale()
        async with open_journal_thread(files.journal_path) as journal_thread:
            yield files, journal_thread


def require_mirror(root: Path) -> Path:
    """The path of the journal of an existing mirror.

    Raises:
        JournalUnreadable: there is none.
    """
    path = root / JOURNAL
    if not path.is_file():
        raise JournalUnreadable(f"{root} is no mirror: it holds no {JOURNAL}")
    return path


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
