"""`verify`: the files of a mirror against its journal, and its Series against the archive; `--repair` downloads again.

`verification.files` reads the files, in batches (`verification.batch`).

Where the archive knows an MD5 for a Series (NBIA's getMD5Hierarchy: the MD5 of the MD5s of its instances, in
hexadecimal, sorted and joined), one small request compares the whole Series. Elsewhere its count and size are compared.
The list of a Series in a bucket (IDC) is compared with its files, by MD5.
Only complete Series can be compared; the report counts what the others owe.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Final, Unpack

from bulkdl.archive.base import Archive
from bulkdl.archive.supporting_files import KEY
from bulkdl.errors import ConfigurationError, JournalUnreadable, RequestFailed
from bulkdl.fetch.adopted import md5_of_series
from bulkdl.fetch.md5s import with_md5s
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance, RunRow, SeriesRow
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import RunContext
from bulkdl.model.options import Option
from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.records import Entry, InstanceKey
from bulkdl.model.reports.base import InstanceCounts
from bulkdl.model.reports.run import RunReport
from bulkdl.model.reports.verify import Problem, ProblemKind, VerifyReport
from bulkdl.runtime.tasks import run_pool
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import Layout, parse_layout
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.connections.open_archive import open_archive, with_supporting
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.mirrors.folders import kept_locks, require_mirror, require_settled
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from bulkdl.verbs.runs.mirror_run import begin_run
from bulkdl.verbs.runs.options import NewLayout, RunOptions, context_of, kept_context
from bulkdl.verbs.runs.unfinished_work import unfinished_merges
from bulkdl.verbs.verification.files import Damage, FileVerification
from bulkdl.verbs.verification.locked_folder import verify_against

_AT_ONCE: Final = 8
_PAGE: Final = 200


class VerifyOptions(RunOptions, total=False):
    """The options of `verify`."""

    quick: Annotated[bool, Option("quick", "Compare sizes only; do not read the files.")]
    repair: Annotated[bool, Option("repair", "Download damaged and missing files again.")]
    remote: Annotated[bool, Option("remote", "Also compare every complete series with the archive.")]
    against: Annotated[
        Path | None, Option("against", "Compare any folder with a lock file instead.", "FILE", read=Path)
    ]
    layout: NewLayout
    from_start: Annotated[bool, Option("from_start", "Start again instead of continuing an interrupted verification.")]


async def verify_async(mirror: Paths, **options: Unpack[VerifyOptions]) -> VerifyReport:
    """Compare every file with the journal: its size and, unless `quick`, its SHA-256; look for files of other origin.

    An interrupted verification continues where it stopped, unless `from_start`. With `remote` the archive is asked
    whether it has the same data. With `repair` damaged files are moved to quarantine and downloaded again. Foreign
    files, and differences from the archive, are reported and never changed. With `against` any folder is compared with
    a lock file, and neither a journal nor an archive is used. Archive and settings are those of the last
    run and of the last `mirror` run, unless they are given. If `stop` was set, the report covers only a part.

    Raises JournalError: there is no mirror, or its journal cannot be read; as `mirror` when repairing; ArchiveError
    when the archive is asked.
    """
    root = Path(mirror)
    if (lock := options.get("against")) is not None:
        if any(options.get(other) for other in ("quick", "repair", "remote")):
            raise ConfigurationError("--against cannot be combined with --quick, --repair or --remote")
        return await verify_against(root, Path(lock), context_of(options))
    path = require_mirror(root)
    files = MirrorFiles(root)
    context = await asyncio.to_thread(kept_context, root, options)
    layout = options.get("layout")
    chosen = parse_layout(layout) if layout is not None else None
    quick, started = options.get("quick", False), time.monotonic()
    compared: int | None = None
    differing: list[Problem] = []
    with Journal.open_readonly(path) as journal:
        await asyncio.to_thread(require_settled, root, journal)
        last = journal.last_run()
        from_start = options.get("from_start", False)
        found = FileVerification(files, journal, context, quick)
        await found.run(from_start=from_start)
        if options.get("remote") and not context.stop.is_set():
            async with open_archive(
                with_supporting(_archive_of(root, options, last), journal.selections()), context
            ) as source:
                compared, differing = await _compare_series(journal, files, source.client, context.stop)
        counts = journal.counts(None)
        states = counts.instances_selected, 0, counts.held, counts.failed, counts.quarantined
        counted = InstanceCounts(*states, journal.not_decoded(None))
        unfinished = tuple(await asyncio.to_thread(unfinished_merges, root, journal))
        never_listed, is_resolved = journal.never_listed(), all(one.is_resolved for one in journal.selections())
    report = VerifyReport(
        mirror=str(files.root),
        series=counts.series,
        checked=found.checked,
        sound=found.checked - len(found.damaged),
        owed=counts.owed,
        instances=counted,
        bytes_checked=found.bytes_checked,
        seconds=time.monotonic() - started,
        problems=(*found.problems(), *differing),
        series_compared=compared,
        is_quick=quick,
        series_unlisted=never_listed,
        is_resolved=is_resolved,
        unfinished=unfinished,
    )
    if not options.get("repair") or not found.damaged or context.stop.is_set():
        return report
    repaired = await _repair(root, found.damaged, _archive_of(root, options, last), context, chosen)
    return replace(report, repair=repaired, seconds=time.monotonic() - started)


verify = blocking(verify_async)


def _archive_of(mirror: Path, options: VerifyOptions, last: RunRow | None) -> ArchiveChoice:
    archive = options.get("archive")
    if archive is None and last is None:
        raise JournalUnreadable(f"{mirror} has no run, so its archive is not known")
    return choose_archive(archive, last.archive_name if last is not None else "")


async def _repair(
    root: Path, damaged: list[Damage], archive: ArchiveChoice, context: RunContext, layout: Layout | None
) -> RunReport:
    archive = replace(archive, supporting=any(held.entry.key.startswith(KEY) for held, _ in damaged))
    async with (
        open_mirror(root, "repair", private=context.settings.private) as mirror,
        open_archive(archive, context) as source,
    ):
        await mirror.settle_layout(layout, context.sink)
        for held, kind in damaged:
            # Quarantine comes first, then the journal: a file left in place would be adopted, damage included.
            if kind is not ProblemKind.MISSING:
                details = {
                    "journalled_sha256": held.sha256.hex() if held.sha256 else None,
                    "message": f"found {kind.value} by verify",
                }
                place = mirror.files.absolute(held.path)
                await asyncio.to_thread(mirror.files.quarantine.keep, place, sop_uid=held.sop_uid, details=details)
        run = await begin_run("repair", mirror, source, context)
        run.locks = await asyncio.to_thread(kept_locks, root)
        keys = [InstanceKey(held.series_uid, held.sop_uid) for held, _ in damaged]
        await mirror.journal(Journal.owe, run.run, keys)
        return await run.fetch_only(_work_of(damaged))


def _work_of(damaged: list[Damage]) -> list[SeriesWork]:
    instances = sorted((held for held, _ in damaged), key=attrgetter("series_id", "sop_uid"))
    return [
        SeriesWork(
            series_uid=owed[0].series_uid,
            study_uid=None,
            folder=owed[0].path.rpartition("/")[0],
            entries=tuple(held.entry for held in owed),
            names=tuple(held.path.rpartition("/")[2] for held in owed),
        )
        for _, group in groupby(instances, key=attrgetter("series_id"))
        for owed in [list(group)]
    ]


async def _compare_series(
    journal: Journal, files: MirrorFiles, client: Archive, stop: asyncio.Event
) -> tuple[int, list[Problem]]:
    """Compare every complete Series with the archive; return how many those were, and which differ, by path."""
    compared = 0
    problems: list[Problem] = []
    unanswered: list[RequestFailed] = []

    async def whole_series() -> AsyncIterator[SeriesRow]:
        after = 0
        while not stop.is_set() and (page := journal.series(after=after, limit=_PAGE)):
            after = page[-1].id
            for row in page:
                if row.held and not row.is_in_part and not (row.owed or row.failed or row.quarantined):
                    yield row

    async def ask(row: SeriesRow) -> None:
        nonlocal compared
        try:
            difference = await _difference(row, journal, files, client)
        except RequestFailed as error:
            unanswered.append(error)
            difference = f"not compared, the archive did not answer for this series: {error}"
        compared += 1
        if difference is not None:
            uid = row.series.series_uid
            problems.append(Problem(row.folder or "", ProblemKind.DIFFERS, series=uid, message=difference))

    await run_pool(whole_series(), ask, workers=_AT_ONCE, name="compare")
    if unanswered and len(unanswered) == compared:
        raise unanswered[0]
    return compared, sorted(problems, key=lambda problem: problem.path)


async def _difference(row: SeriesRow, journal: Journal, mirror: MirrorFiles, client: Archive) -> str | None:
    """How the archive's Series differs from ours; None where it is the same."""
    uid = row.series.series_uid
    files = journal.held_of_series(uid)
    if client.capabilities.knows_md5s and any(held.md5 is None for held in files):
        files = await asyncio.to_thread(with_md5s, files, mirror)
    if row.series.kind is not None:
        return _plain_difference((await client.list(row.series)).entries, files)
    if row.series.location is not None and not client.capabilities.lists_sop_uids:
        return _list_difference((await client.list(row.series)).entries, files)
    ours = md5_of_series(files)
    archives = await client.series_checksum(uid)
    if archives == ours:
        return None
    size = await client.size(uid)
    parts = []
    if size.image_count is not None and size.image_count != row.held:
        parts.append(f"{row.held:,} instances here, {size.image_count:,} there")
    if size.size_bytes is not None and size.size_bytes != row.held_bytes:
        parts.append(f"{row.held_bytes:,} bytes here, {size.size_bytes:,} there")
    if archives is not None:
        parts.append(f"MD5 of the series {ours.hex()} here, {archives.hex()} there")
    elif size.image_count is None and size.size_bytes is None:
        parts.append("the archive no longer has the series")
    return ", ".join(parts) or None


def _plain_difference(listed: Sequence[Entry], files: Sequence[HeldInstance]) -> str | None:
    """How files that are not DICOM differ from those here, by key and size: an archive knows no checksum of them."""
    there = {entry.key: entry.size_bytes for entry in listed}
    here = {held.entry.key: held.size_bytes for held in files}
    parts = [f"{key} is not here" for key in there if key not in here]
    parts += [f"{key} is not there any more" for key in here if key not in there]
    parts += [
        f"{key} has {here[key]:,} bytes here, {size:,} there"
        for key, size in there.items()
        if key in here and size is not None and size != here[key]
    ]
    return ", ".join(parts) or None


def _list_difference(listed: Sequence[Entry], files: Sequence[HeldInstance]) -> str | None:
    """How the list of a Series differs from the files here: by MD5, and where it has none by key and size."""
    if not listed:
        return "the archive no longer has the series"
    here = Counter(held.md5 for held in files)
    keys = {held.entry.key: held for held in files}
    unknown: list[str] = []
    for entry in listed:
        held = keys.get(entry.key)
        md5 = entry.md5 or (held.md5 if held is not None and held.size_bytes == entry.size_bytes else None)
        if here[md5] > 0:
            here[md5] -= 1
        else:
            unknown.append(entry.key)
    parts = [f"{len(unknown):,} objects there are not here, {unknown[0]} the first"] if unknown else []
    if (more := here.total()) > 0:
        parts.append(f"{more:,} files here are not there")
    return ", ".join(parts) or None
