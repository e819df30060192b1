"""Examine files for `adopt`: which of them are valid instances that the mirror does not hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bulkdl.dicom.header import Header
from bulkdl.errors import InstanceError
from bulkdl.fetch.digests import digests_of_source
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldPlace
from bulkdl.model.records import InstanceKey
from bulkdl.model.settings import ValidationLevel
from bulkdl.verbs.adoption.batch import Examination, Examined, FileKind, Refused, examine
from bulkdl.verbs.adoption.counts import AdoptCounts
from bulkdl.verbs.adoption.processes import AdoptProcesses
from bulkdl.verbs.adoption.sources import Candidate, SourceItem, candidate_of
from bulkdl.verbs.mirrors.open_mirror import OpenMirror


@dataclass(slots=True)
class Examiner:
    """Examines the files of one run, in its processes, and counts what is refused.

    `holds_files`: the mirror held files before the run, so the headers are compared with the journal first.
    `is_held` says whether a file is not adopted because the mirror has what it is, and counts it.
    """

    mirror: OpenMirror
    processes: AdoptProcesses
    counts: AdoptCounts
    level: ValidationLevel
    with_md5: bool
    with_headers: bool
    holds_files: bool
    is_held: Callable[[SourceItem, HeldPlace | None], bool]
    decoders: Decoders = field(default_factory=Decoders)
    _inflating: asyncio.Lock = field(default_factory=asyncio.Lock)  # one data set at a time is inflated

    async def valid(self, items: list[SourceItem], zips: list[SourceItem]) -> list[Candidate]:
        """The valid instances among the items. Adds to `zips` those that are zips."""
        by_decoders = self.level is ValidationLevel.PIXELS
        if self.holds_files or by_decoders:
            identified = await self._examine(items, zips, level=None)
            headers = [(item, header) for item, header in identified if isinstance(header, Header)]
            keys = [InstanceKey(header.series_uid, header.sop_uid) for _, header in headers]
            held = await self.mirror.journal(Journal.find_all_held, keys)
            fresh = [pair for pair, key in zip(headers, keys, strict=True) if not self.is_held(pair[0], held.get(key))]
            if by_decoders:
                return await self._decode(fresh)
            items = [item for item, _ in fresh]
        examined = await self._examine(items, zips, level=self.level)
        return [candidate_of(item, found) for item, found in examined if isinstance(found, Examined)]

    async def _examine(
        self, items: list[SourceItem], zips: list[SourceItem], *, level: ValidationLevel | None
    ) -> list[tuple[SourceItem, Header | Examined]]:
        question = Examination(
            tuple(item.source for item in items), level, self.with_md5, with_headers=self.with_headers
        )
        good = []
        for item, finding in zip(items, await self.processes.examine(question), strict=True):
            if finding is FileKind.INFLATING:
                async with self._inflating:
                    alone = replace(question, sources=(item.source,), may_inflate=True)
                    (finding,) = await asyncio.to_thread(examine, alone)  # noqa: PLW2901 - the same, once it may
            if isinstance(finding, Refused):
                self.counts.reject(item.found, finding.error, finding.message)
            elif finding is FileKind.ZIP:
                zips.append(item)
            elif isinstance(finding, FileKind):
                self.counts.others += 1
            else:
                good.append((item, finding))
        return good

    async def _decode(self, identified: list[tuple[SourceItem, Header]]) -> list[Candidate]:
        """Validate in processes of decoders, because a decoder may crash."""
        valid = []
        for item, header in identified:
            source = item.source if isinstance(item.source, bytes) else Path(item.source)
            try:
                found = await self.decoders.validate(source, None)
                digests = await asyncio.to_thread(digests_of_source, source, with_md5=self.with_md5)
            except (InstanceError, OSError) as error:
                self.counts.reject(item.found, getattr(error, "code", "unreadable"), str(error))
            else:
                key = InstanceKey(found.series_uid, found.sop_uid)
                valid.append(Candidate(item, key, digests, found.transfer_syntax_uid, found.notes, header))
        return valid
