"""Commit instances to the mirror. `commit` states the order of durability that the journal relies on.

If the power fails before the last step, a complete, synced file may lie at its place without the journal knowing it:
the next run validates it, and commits it where it lies. A final name never belongs to an incomplete file.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bulkdl.errors import DiskError
from bulkdl.runtime.disk import MANY_FILES
from bulkdl.store.files import MirrorFiles


@dataclass(slots=True)
class CommitJob:
    """One instance to commit: its place `path`, or None to leave a synced partial file.

    `partial` is None if the file lies at `path` already; `content` is None if the partial file is written and synced
    already. `commit` sets `mtime_ns`, or `error` if the job failed.
    """

    path: str | None
    partial: str | None = None
    content: bytes | None = None
    mtime_ns: int = 0
    error: Exception | None = None


def commit(files: MirrorFiles, jobs: Iterable[CommitJob]) -> None:
    """Commit a group of instances: when this returns, a power cut takes none away that has no `error`. Blocking.

    A job that fails does not stop the others. A folder that cannot be synced fails all its jobs.
    """
    jobs, folders = list(jobs), dict[str, list[CommitJob]]()
    are_written = _write_many(files, jobs)
    for job in jobs:
        if job.error is not None:
            continue
        try:
            if job.partial is not None and job.content is not None and not are_written:
                files.partials.write(job.partial, job.content)  # 1. the bytes are synced under a temporary name
            if job.path is None:
                continue
            folder = job.path.rpartition("/")[0]
            if job.partial is None:
                job.mtime_ns = files.mtime_ns(job.path)
            else:
                files.ensure_folder(folder)  # 2. every folder above has a synced entry
                job.mtime_ns = files.rename_partial(job.partial, job.path)  # 3. the file gets its name, all at once
            folders.setdefault(folder, []).append(job)
        except Exception as error:  # noqa: BLE001 - the owner of the job gets it, whatever it is
            job.error = error
    for folder, renamed in folders.items():
        try:
            files.sync_folder(folder)  # 4. the names are synced, once for the group; the journal may have them now
        except DiskError as error:
            for job in renamed:
                job.error = error


def _write_many(files: MirrorFiles, jobs: list[CommitJob]) -> bool:
    """Step 1 for all jobs at once, if they are many: one call syncs the bytes of all. Returns whether it was done."""
    named = [(job.partial, job) for job in jobs if job.partial is not None and job.content is not None]
    contents = dict(named)
    if len(contents) < MANY_FILES or len(contents) < len(named):  # of one name, one is put in place after the other
        return False
    for name, job in contents.items():
        try:
            files.partials.write(name, job.content or b"", is_synced=False)
        except DiskError as error:
            job.error = error
    written = {name: job for name, job in contents.items() if job.error is None}
    try:
        files.partials.sync(list(written))
    except DiskError as error:
        for job in written.values():
            job.error = error
    return True
