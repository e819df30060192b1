"""`sync`: bring a mirror to what the archive has now."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, Unpack

from bulkdl.archive.base import Archive
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.errors import JournalUnreadable, RequestFailed, SelectionError, UnexpectedAnswer
from bulkdl.fetch.adopted import find_differing
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run, RunRow, SelectionRow
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Noted
from bulkdl.model.formatting import counted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.options import Option, several
from bulkdl.model.reports.run import Changes, RunReport
from bulkdl.model.selection import Selection
from bulkdl.resolve.denied_series import DeniedSeries, FindSeries
from bulkdl.resolve.resolution import Resolution, resolve
from bulkdl.store.layout import Layout
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.connections.open_archive import open_archive, with_supporting
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.locks.changes import LockedChanges
from bulkdl.verbs.mirrors.folders import kept_locks
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from bulkdl.verbs.mirrors.replaced_files import replace_files
from bulkdl.verbs.runs.mirror_run import MirrorRun, begin_run
from bulkdl.verbs.runs.options import DownloadOptions, RunOptions, kept_context, with_command

_RELEASE: Final = re.compile(r"\brelease (\d{1,9})\b", re.ASCII)
_ASKED_AT_ONCE: Final = 500  # Series, of which the archive is asked whether it still has them


class SyncOptions(DownloadOptions, total=False):
    """The options of `sync`."""

    max_delete: Annotated[
        int | None,
        Option("max_delete", "Mark or remove at most N files; without it, mark half of a selection.", "N", read=int),
    ]
    deny_license: Annotated[
        tuple[str, ...],
        Option(
            "deny_license",
            "Request nothing of series under this licence, for example '*NC*'; the files that are there stay.",
            "GLOB",
        ),
    ]


async def sync_async(mirror: Paths, **options: Unpack[SyncOptions]) -> RunReport:
    """Repeat the selections of a mirror: download what is new or changed, and mark what was withdrawn.

    The file of an instance that has other bytes now is kept below `.bulkdl/superseded`. What the archive neither lists
    any more nor finds by its UID is withdrawn: marked, and kept in its place. `prune` removes both. A question that
    failed, found nothing, or found suspiciously little marks nothing. Settings that are not given are those of the last
    `mirror` run. `changes` of the report counts all that. Nothing is requested of Series under a licence that
    `deny_license` matches: new ones are left out, those of the mirror stay as they are, and the notes say so.
    Raises as `resume`, and `JournalUnreadable` where the mirror has no selection to repeat.
    """
    root = Path(mirror)
    context = await asyncio.to_thread(kept_context, root, options)
    context = with_command(context, options)
    async with open_mirror(root, "sync", private=context.settings.private) as opened:
        last, all_rows = await opened.journal(Journal.last_run), await opened.journal(Journal.selections)
        archive, rows = repeated_selections(last, all_rows, options, root)
        archive = with_supporting(archive, all_rows)
        async with open_archive(archive, context) as source:
            layout = await opened.settle_layout()
            run = await begin_run("sync", opened, source, context)
            run.reporter.changes = changes = Changes()
            for text in not_repeated(all_rows, rows):
                run.reporter.note(text)
            run.locks = await asyncio.to_thread(kept_locks, root)
            run.selections.locked = await LockedChanges.of(run.locks, opened.journal, source.client)
            run.descriptions.again = isinstance(source.client, IdcArchive)  # which costs no request
            run.selections.denied = denied_series(options, lambda uid: opened.journal(Journal.find_series, uid))
            task = _Sync(run, changes, options.get("max_delete"))
            await opened.journal(Journal.owe_again, run.run)
            return await run.carry_out(lambda: task.resolve(rows, layout), task.compare)


sync = blocking(sync_async)


def repeated_selections(
    last: RunRow | None, rows: Sequence[SelectionRow], options: RunOptions, root: Path
) -> tuple[ArchiveChoice, list[SelectionRow]]:
    """The archive to ask, and the selections of it that the mirror has. Raises JournalUnreadable: there is none."""
    if last is None:
        raise JournalUnreadable(f"{root} has no run to repeat; use bulkdl mirror")
    archive = choose_archive(options.get("archive"), last.archive_name)
    chosen = [row for row in rows if options.get("archive") is not None or row.archive_name == last.archive_name]
    if not chosen:
        raise JournalUnreadable(f"{root} has no selection of {archive.name} to repeat; use bulkdl mirror")
    return archive, chosen


def not_repeated(rows: Sequence[SelectionRow], repeated: Sequence[SelectionRow]) -> list[str]:
    """What to say of the selections of other archives than that of the last run."""
    ids, last = {row.id for row in repeated}, repeated[0].archive_name
    left = Counter(row.archive_name for row in rows if row.id not in ids)
    return [
        f"{counted(count, 'selection')} of {name} {'is' if count == 1 else 'are'} not repeated, "
        f"because the last run was with {last}"
        for name, count in left.items()
    ]


def denied_series(options: SyncOptions, find: FindSeries) -> DeniedSeries | None:
    """The Series under the licences that the options deny; None where they deny none."""
    patterns = several(options.get("deny_license") or ())
    return DeniedSeries(Selection(denied_licenses=patterns), find) if patterns else None


def older_index(release: str | None, known: Iterable[str]) -> str | None:
    """Why an index may withdraw nothing, because a later release is `known`; None if it may."""
    latest = max(known, key=_number, default=None)
    if _number(release) >= _number(latest):
        return None
    return (
        f"the index is of {release}, and the mirror was made with {latest}: nothing was marked as withdrawn; for a "
        "later index, run bulkdl archives --update-index"
    )


def too_many(vanished: Mapping[SeriesUid, int], held: int, max_delete: int | None) -> str | None:
    """Why a list without these Series marks none as withdrawn; None if it may. The numbers are those of files."""
    allowed = max_delete if max_delete is not None else held // 2
    if (files := sum(vanished.values())) <= allowed:
        return None
    return (
        f"the archive does not list {len(vanished):,} series with {files:,} of {held:,} files any more: nothing was "
        f"marked as withdrawn, because the list may be incomplete; if they were withdrawn, add --max-delete {files}"
    )


async def find_present(uids: Sequence[SeriesUid], archive: Archive) -> set[SeriesUid]:
    """Those of the Series that the archive finds by their UIDs. Raises RequestFailed: it did not answer."""
    there: set[SeriesUid] = set()
    for start in range(0, len(uids), _ASKED_AT_ONCE):
        found = Resolution()
        asked = Selection(series=tuple(uids[start : start + _ASKED_AT_ONCE]))
        async with aclosing(resolve(asked, archive, found)) as batches:
            async for batch in batches:
                there.update(series.series_uid for series in batch.series if series.remark is None)
        if found.failed:
            raise found.failed[0][1]
    return there


@dataclass(slots=True)
class _Sync:
    """Compares what a run resolves and lists with what the mirror has of earlier runs."""

    run: MirrorRun
    changes: Changes
    max_delete: int | None
    withdrawn: dict[SeriesUid, None] = field(default_factory=dict)  # a Series may be in several selections

    async def resolve(self, rows: Sequence[SelectionRow], layout: Layout) -> None:
        """Resolve every selection again, and mark what it does not find any more."""
        journal = self.run.mirror.journal
        before, known = await journal(Journal.series_count), await journal(Journal.catalogues)
        for row in rows:
            run = replace(self.run.run, selection_id=row.id)
            with suppress(SelectionError):  # it is a failure in the report
                is_answered = await self.run.selections.resolve(row.selection, layout, run=run)
                if is_answered and not self._is_doubted(older_index(await journal(Journal.last_catalogue), known)):
                    await self._mark_withdrawn(run)
                if self.run.selections.locked is None:
                    await journal(Journal.list_uncompared, run)
        self.changes.new_series = await journal(Journal.series_count) - before
        locked = self.run.selections.locked
        for text in await locked.compare(self.changes) if locked is not None else ():
            self.run.reporter.note(text)
        if gone := list(self.withdrawn):
            self.changes.withdrawn_series += len(gone)
            files = self.changes.withdrawn_instances
            text = f"the archive has withdrawn {len(gone):,} series, {gone[0]} the first of them; "
            self.run.context.sink(Noted(f"{text}their {files:,} files are kept, and marked"))

    def _is_doubted(self, why: str | None) -> bool:
        if why is not None:
            self.run.reporter.fail(UnexpectedAnswer.code, why)
        return why is not None

    async def _mark_withdrawn(self, run: Run) -> None:
        journal = self.run.mirror.journal
        vanished, held = await journal(Journal.vanished, run)
        if not vanished or self._is_doubted(too_many(vanished, held, self.max_delete)):
            return
        try:
            there = await find_present(list(vanished), self.run.client)
        except RequestFailed as error:
            self.run.reporter.fail(error.code, f"nothing was marked as withdrawn: {error}")
            return
        gone = [uid for uid in vanished if uid not in there]
        if (locked := self.run.selections.locked) is not None:
            gone = locked.withdraw(gone)
        await journal(Journal.unlink, run, sorted(there), withdraw=False)
        withdrawn = await journal(Journal.unlink, run, gone, withdraw=True)
        self.changes.withdrawn_instances += withdrawn  # `compare` counts meanwhile
        self.withdrawn |= dict.fromkeys(gone)

    async def compare(self, series_uid: SeriesUid, keys: frozenset[str] | None) -> None:
        """Mark what a new list of a Series does not have any more; put aside files that have other bytes now."""
        await self.run.adopted.complete_md5s(series_uid)
        journal, files = self.run.mirror.journal, self.run.mirror.files
        row = await journal(Journal.find_series, series_uid)
        if row is None or not row.held:
            return
        self.changes.changed_series += 1
        if keys is not None:
            gone = await journal(Journal.withdraw, self.run.run, series_uid, keys)
            # In a bucket a new version has another key: what is owed of the Series takes the places of what is gone.
            replaced = min(gone, row.owed) if row.series.location is not None else 0
            self.changes.withdrawn_instances += gone - replaced
            self.changes.replaced_instances += replaced
        adopted = {each.sop_uid for each in await journal(Journal.adopted, series_uid)}
        found, _ = await find_differing(row, await journal(Journal.held_of_series, series_uid), self.run.client)
        await self.run.adopted.replace(series_uid, [each for each in found if each.sop_uid in adopted])
        differing = [each for each in found if each.sop_uid not in adopted]
        run = self.run.run
        aside = await journal(replace_files, run, differing, lambda each: files.supersede(each.path, run.id))
        self.changes.replaced_instances += len(aside)
        if keys is not None or row.is_in_part:
            await journal(Journal.end_comparing, series_uid)


def _number(release: str | None) -> int:
    """The number of a release as the journal has it, `IDC release 25 (…)`; 0 without one."""
    found = _RELEASE.search(release or "")
    return int(found[1]) if found is not None else 0
