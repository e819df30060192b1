"""Put the files of valid instances in their places in the mirror, for `adopt`."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bulkdl.fetch.digests import Digests, digests_of_file
from bulkdl.fetch.lost_files import move_away
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportJob, ImportMode, bring, remove_taken
from bulkdl.store.partials import partial_name
from bulkdl.verbs.adoption.batch import Import
from bulkdl.verbs.adoption.counts import AdoptCounts
from bulkdl.verbs.adoption.processes import AdoptProcesses
from bulkdl.verbs.adoption.sources import Candidate


@dataclass(slots=True)
class Placer:
    """Puts files below `source` in their places among `files`, by the `processes` of the run, and counts conflicts."""

    files: MirrorFiles
    source: Path
    by: ImportMode
    processes: AdoptProcesses
    counts: AdoptCounts
    _partials: Iterator[int] = field(default_factory=count)

    async def place(self, batch: list[Candidate]) -> list[Candidate]:
        """Commit the batch to its places; return those that are new.

        Files of which each has a place to itself are imported together. All others are compared with what is there.
        """
        times = Counter(candidate.place for candidate in batch)
        alone = [each for each in batch if times[each.place] == 1 and isinstance(each.item.source, str)]
        jobs = tuple(ImportJob(str(each.item.source), self._partial(), each.place) for each in alone)
        question = Import(self.files.root, self.files.is_private, jobs, self.by is not ImportMode.COPY)
        mtimes = await self.processes.import_files(question) if jobs else []
        placed = []
        for candidate, mtime_ns in zip(alone, mtimes, strict=True):
            if mtime_ns is not None:
                candidate.mtime_ns = mtime_ns
                placed.append(candidate)
        done = {candidate.place for candidate in placed}
        if rest := [candidate for candidate in batch if candidate.place not in done]:
            placed += await asyncio.to_thread(self._place_singly, rest)
        return placed

    def _partial(self) -> str:
        """A name that no other process gives, not even one that a killed run has left."""
        return f"{os.getpid()}-{next(self._partials)}.part"

    def _place_singly(self, batch: list[Candidate]) -> list[Candidate]:
        """The same for files whose places other files have, in the mirror or in the batch, and for entries of zips."""
        placed: dict[str, Candidate] = {}
        jobs: list[CommitJob] = []
        for candidate in batch:
            path, digests, found = candidate.place, candidate.digests, candidate.item.found
            before = placed[path].digests if path in placed else self._existing(path)
            if before is None:
                jobs.append(self._job(candidate))
            elif before.sha256 != digests.sha256:
                shorter = placed.pop(path, None)
                if digests.size_bytes <= before.size_bytes or not (shorter or candidate.replaces):
                    self.counts.reject(found, "conflict", f"another file of this instance is already at {path}")
                    placed |= {path: shorter} if shorter else {}
                    continue
                self.counts.reject(
                    shorter.item.found if shorter else path,
                    "conflict",
                    f"a longer file of this instance is now at {path}",
                )
                if shorter is None:
                    move_away(self.files, path, candidate.key.sop_uid, "a longer file of it was adopted")
                    self.counts.replace_one()
                jobs = [*(job for job in jobs if job.path != path), self._job(candidate)]
                before = None
            if path in placed:
                self.counts.add_already()
            else:
                placed[path] = candidate
                if before is not None:
                    jobs.append(CommitJob(path))
        commit(self.files, jobs)
        if errors := [job.error for job in jobs if job.error is not None]:
            raise errors[0]
        for candidate in placed.values():
            candidate.mtime_ns = self.files.mtime_ns(candidate.place)
        return list(placed.values())

    def _existing(self, path: str) -> Digests | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return digests_of_file(self.files.absolute(path))
        return None

    def _job(self, candidate: Candidate) -> CommitJob:
        name, source = partial_name(candidate.key.series_uid, candidate.key.sop_uid), candidate.item.source
        if isinstance(source, bytes):
            return CommitJob(candidate.place, name, source)
        bring(Path(source), self.files.partials.path(name), may_link=self.by is not ImportMode.COPY)
        return CommitJob(candidate.place, name)

    def clear(self, batch: Iterable[Candidate]) -> None:
        """Remove moved files from their old places, now that the journal has the new ones."""
        for candidate in batch:
            source = candidate.item.source
            if isinstance(source, str) and source != str(self.files.absolute(candidate.place)):
                remove_taken(Path(source), self.source)

    def remove_second_name(self, source: Path, place: str) -> None:
        """Remove a file that was moved by a run that was killed before it could remove it."""
        with suppress(OSError):
            if os.path.samestat(source.lstat(), self.files.absolute(place).lstat()):
                remove_taken(source, self.source)
