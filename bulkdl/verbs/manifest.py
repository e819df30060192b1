"""Show and convert manifests, and make one from a mirror. Everything here blocks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from bulkdl.errors import SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.manifest import ManifestRow
from bulkdl.manifest.tally import ManifestTally
from bulkdl.manifest.text import OpenFile
from bulkdl.manifest.writing import ManifestFormat, endpoint_settings, write_rows
from bulkdl.model.formatting import counted
from bulkdl.model.reports.manifest import ManifestReport, ManifestWritten
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.locks.files import LockSource, is_lock, open_lines, open_lock
from bulkdl.verbs.locks.holder import unproven
from bulkdl.verbs.manifests.files import NO_LOCK, reading
from bulkdl.verbs.manifests.rows import CountedRows, rows_of_series
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.select import content_of

__all__ = [
    "ManifestFormat",
    "manifest_convert",
    "manifest_from_mirror",
    "manifest_show",
]


def manifest_show(
    manifest: Paths, *, content: bytes | OpenFile | None = None, skip_bad_lines: bool = False
) -> ManifestReport:
    """Say what a manifest of any known format names.

    `content` is that of the file, where it was read already, or what opens it, as often as it is called.

    Raises ManifestError: it cannot be read.
    """
    opened = content_of(manifest) if content is None else content
    if is_lock(opened):
        return _show_lock(opened, str(manifest))
    with reading(opened, str(manifest), skip_bad_lines=skip_bad_lines) as read:
        tally = ManifestTally()
        for row in read.rows:
            tally.add(row)
    return ManifestReport(
        manifest=str(manifest),
        format=read.format,
        collections=len(tally.collections),
        patients=len(tally.patients),
        studies=len(tally.studies),
        series=tally.series_count,
        instances=tally.instance_count,
        stated_instances=tally.stated_instances,
        stated_bytes=tally.stated_bytes,
        settings=dict(read.settings),
        notes=(*read.remarks.notes(), *_repeated(tally.repeated)),
    )


def _repeated(count: int) -> Iterator[str]:
    if count:
        yield f"{counted(count, 'row')} of a series that an earlier row names"


def manifest_convert(
    manifest: Paths,
    file: TextIO,
    *,
    format: str,  # noqa: A002 - the option
    content: bytes | OpenFile | None = None,
    skip_bad_lines: bool = False,
) -> ManifestWritten:
    """Write a manifest of any known format to `file` in another form, row by row.

    `format` is one of `tcia`, `csv`, `jsonl`, `s5cmd` and, of a lock, `lock`; `content` is as in `manifest_show`.

    Raises ManifestError: it cannot be read; SelectionError: it names something that the form cannot hold.
    """
    opened = content_of(manifest) if content is None else content
    if format == "lock":
        return _copy_lock(opened, str(manifest), file)
    form = ManifestFormat(format)
    with reading(opened, str(manifest), skip_bad_lines=skip_bad_lines) as read:
        rows = CountedRows(read.rows)
        file.writelines(write_rows(rows, form, read.settings, are_unique=read.format == "lock"))
    notes = list(read.remarks.notes())
    if (form is ManifestFormat.TCIA and rows.instances) or (form is ManifestFormat.S5CMD and rows.unplaced):
        notes.append("single instances are named; this form lists their whole series")
    return ManifestWritten(format=form, series=len(rows.series), instances=rows.instances, notes=tuple(notes))


def _show_lock(lock: LockSource, name: str) -> ManifestReport:
    """A lock by its head; the rest is read all the same, because its digest may be another."""
    with open_lock(lock, name) as (head, groups):
        for _ in groups:
            pass
    return ManifestReport(
        manifest=name,
        format="lock",
        collections=0,
        patients=0,
        studies=0,
        series=head.series,
        instances=head.instances,
        stated_instances=head.instances,
        stated_bytes=head.size_bytes,
        settings=head.settings(),
        notes=tuple(unproven(head.weaker)),
    )


def _copy_lock(lock: LockSource, name: str, file: TextIO) -> ManifestWritten:
    """Write a lock as it is, but for compression. Raises SelectionError: it is another manifest."""
    if not is_lock(lock):
        raise SelectionError(NO_LOCK)
    with open_lock(lock, name) as (head, groups):
        for _ in groups:  # its digest may be another
            pass
    with open_lines(lock, name) as lines:
        file.writelines(lines)
    return ManifestWritten(format="lock", series=head.series, instances=head.instances)


def manifest_from_mirror(
    mirror: Paths,
    file: TextIO,
    *,
    format: str = ManifestFormat.CSV,  # noqa: A002 - the option
) -> ManifestWritten:
    """Write a manifest of what a mirror holds to `file`.

    Raises JournalError: there is no mirror, or its journal cannot be read; SelectionError: the form cannot hold it.
    """
    with Journal.open_readonly(require_mirror(Path(mirror))) as journal, journal.snapshot():
        rows = CountedRows(chain.from_iterable(_rows_of_mirror(journal)))
        file.writelines(write_rows(rows, ManifestFormat(format), _endpoint_of(journal)))
    return ManifestWritten(format=ManifestFormat(format), series=len(rows.series), instances=rows.instances)


def _endpoint_of(journal: Journal) -> dict[str, str]:
    """The settings for the bucket that a mirror comes from, if it is the only archive, and not a public one."""
    (name, address), *others = [*journal.archives(), ("", "")]
    return endpoint_settings(address) if name.startswith("idc+") and len(others) <= 1 else {}


def _rows_of_mirror(journal: Journal) -> Iterator[Iterator[ManifestRow]]:
    for row in journal.all_series():
        uid, wanted = row.series.series_uid, {}
        if row.is_in_part:
            wanted = {uid: [held.sop_uid for held in journal.held_of_series(uid)]}
        if row.held:
            yield rows_of_series(row.series, wanted)
