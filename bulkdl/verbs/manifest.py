"""Show, convert and compare manifests, and make one from a mirror. Everything here blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Final, TextIO, TypeAlias

from bulkdl.errors import SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.manifest import ManifestReading, ManifestRow, locked, open_manifest
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.digest_table import DigestTable
from bulkdl.manifest.locked import LockedGroup, LockedInstance
from bulkdl.manifest.tally import ManifestTally
from bulkdl.manifest.text import OpenFile
from bulkdl.manifest.writing import ManifestFormat, endpoint_settings, write_rows
from bulkdl.manifest.zstandard import compressed_text
from bulkdl.model.formatting import counted
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Series
from bulkdl.model.reports.manifest import ManifestDifference, ManifestReport, ManifestWritten
from bulkdl.model.selection import folder_of
from bulkdl.runtime.new_files import new_file, new_text_file
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.locks.files import LockSource, is_lock, open_lines, open_lock
from bulkdl.verbs.locks.holder import unproven
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.select import content_of

__all__ = [
    "ManifestFormat",
    "manifest_convert",
    "manifest_diff",
    "manifest_from_mirror",
    "manifest_show",
]

_Key: TypeAlias = tuple[str, str]

_NO_LOCK: Final = "a lock has the checksums of instances; to make one: bulkdl manifest lock DIR|FILE"
_NOT_COMPRESSED: Final = "only a lock is written compressed: leave out .zst"


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
    with _reading(opened, str(manifest), skip_bad_lines=skip_bad_lines) as reading:
        tally = ManifestTally()
        for row in reading.rows:
            tally.add(row)
    return ManifestReport(
        manifest=str(manifest),
        format=reading.format,
        collections=len(tally.collections),
        patients=len(tally.patients),
        studies=len(tally.studies),
        series=tally.series_count,
        instances=tally.instance_count,
        stated_instances=tally.stated_instances,
        stated_bytes=tally.stated_bytes,
        settings=dict(reading.settings),
        notes=(*reading.remarks.notes(), *_repeated(tally.repeated)),
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
    with _reading(opened, str(manifest), skip_bad_lines=skip_bad_lines) as reading:
        rows = _Counted(reading.rows)
        file.writelines(write_rows(rows, form, reading.settings, are_unique=reading.format == "lock"))
    notes = list(reading.remarks.notes())
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
        raise SelectionError(_NO_LOCK)
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
        rows = _Counted(chain.from_iterable(_rows_of_mirror(journal)))
        file.writelines(write_rows(rows, ManifestFormat(format), _endpoint_of(journal)))
    return ManifestWritten(format=ManifestFormat(format), series=len(rows.series), instances=rows.instances)


def _endpoint_of(journal: Journal) -> dict[str, str]:
    """The settings for the bucket that a mirror comes from, if it is the only archive, and not a public one."""
    (name, address), *others = [*journal.archives(), ("", "")]
    return endpoint_settings(address) if name.startswith("idc+") and len(others) <= 1 else {}


def manifest_diff(first: LockSource, second: LockSource) -> ManifestDifference:
    """Compare what two manifests name, and the sizes and numbers of instances that both state.

    A manifest is given by its path, by its content, or by what opens that; without a path it is called standard input.
    A Series that one names whole, and the other by single instances, is a change.

    Raises ManifestError: one cannot be read.
    """
    names = _called(first), _called(second)
    opened = [content_of(each) if isinstance(each, str | PathLike) else each for each in (first, second)]
    if all(map(is_lock, opened)):
        return _diff_locks((opened[0], names[0]), (opened[1], names[1]))
    before, after = (_rows_by_key(content, name) for content, name in zip(opened, names, strict=True))
    narrowed, widened = _single(after, before), _single(before, after)
    partly = {("series", uid) for uid in (*narrowed, *widened)}  # in both, at different levels
    return ManifestDifference(
        first=names[0],
        second=names[1],
        removed=tuple(" ".join(key) for key in before if key not in after and not {key, _whole_of(key)} & partly),
        added=tuple(" ".join(key) for key in after if key not in before and not {key, _whole_of(key)} & partly),
        changed=(
            *(
                f"{' '.join(key)}: {difference}"
                for key, row in before.items()
                if key in after and (difference := _difference(row, after[key]))
            ),
            *(f"series {uid}: whole → {counted(count, 'single instance')}" for uid, count in narrowed.items()),
            *(f"series {uid}: {counted(count, 'single instance')} → whole" for uid, count in widened.items()),
        ),
    )


def _called(manifest: LockSource) -> str:
    return str(manifest) if isinstance(manifest, str | PathLike) else "standard input"


def _whole_of(key: _Key) -> _Key | None:
    """The key of the Series of an instance."""
    return ("series", key[1].partition("/")[0]) if key[0] == "instance" else None


def _single(rows: Mapping[_Key, ManifestRow], others: Mapping[_Key, ManifestRow]) -> Counter[str]:
    """The Series of which `rows` name single instances, with the number of these, and that `others` name whole."""
    return Counter(key[1].partition("/")[0] for key in rows if _whole_of(key) in others)


def _rows_by_key(content: bytes | OpenFile, name: str) -> dict[_Key, ManifestRow]:
    with _reading(content, name) as reading:
        return {_key(row): row for row in reading.rows}


def _diff_locks(first: tuple[LockSource, str], second: tuple[LockSource, str]) -> ManifestDifference:
    """Compare two locks, which are sorted, Series by Series."""
    removed: list[str] = []
    added: list[str] = []
    changed: list[str] = []
    with open_lock(*first) as (_, before), open_lock(*second) as (_, after):
        old, new = next(before, None), next(after, None)
        while old is not None or new is not None:
            if new is None or (old is not None and old[0].series_uid < new[0].series_uid):
                removed += [f"series {old[0].series_uid}"] if old else []
                old = next(before, None)
            elif old is None or new[0].series_uid < old[0].series_uid:
                added.append(f"series {new[0].series_uid}")
                new = next(after, None)
            else:
                _diff_instances(old, new, removed, added, changed)
                old, new = next(before, None), next(after, None)
    return ManifestDifference(
        first=first[1], second=second[1], removed=tuple(removed), added=tuple(added), changed=tuple(changed)
    )


def _diff_instances(
    old: LockedGroup, new: LockedGroup, removed: list[str], added: list[str], changed: list[str]
) -> None:
    name = f"instance {old[0].series_uid}/"
    left = {one.name: one for one in new[1]}
    alike = {name: one for one in new[1] for name in _further_names(one)}
    for one in old[1]:
        other = left.get(one.name) or next((alike[name] for name in _further_names(one) if name in alike), None)
        if other is None or left.pop(other.name, None) is None:
            removed.append(name + one.name)
        elif how := _how_bytes_differ(one, other):
            changed.append(f"{name}{one.name}: {how}")
    added += [name + uid for uid in left]


def _further_names(one: LockedInstance) -> tuple[object, ...]:
    """What identifies an instance beside its UID, which one of two locks may not have."""
    return tuple(filter(None, (one.key, one.md5)))


def _how_bytes_differ(one: LockedInstance, other: LockedInstance) -> str:
    """How two instances differ, by the strongest proof that both have; empty if they do not, or that is not known."""
    if None not in {one.size_bytes, other.size_bytes} and one.size_bytes != other.size_bytes:
        return f"{one.size_bytes:,} → {other.size_bytes:,} bytes"
    for before, after in ((one.sha256, other.sha256), (one.md5, other.md5)):
        if before is not None and after is not None:
            return "other bytes" if before != after else ""
    return ""


def format_of_file(path: Paths) -> ManifestFormat:
    """The form in which a manifest of this name is written: by the suffix, else `.tcia`. Raises SelectionError."""
    suffix = Path(path).suffix.casefold().removeprefix(".")
    if suffix in {"lock", "zst"}:
        raise SelectionError(_NO_LOCK if suffix == "lock" else _NOT_COMPRESSED)
    return ManifestFormat(suffix) if suffix in set(ManifestFormat) else ManifestFormat.TCIA


def save_lines(path: Path, lines: Iterable[str]) -> None:
    """Write the lines of a manifest to a file. Raises DiskError: it cannot be written."""
    with new_manifest_file(path) as file:
        file.writelines(lines)


@contextmanager
def new_manifest_file(path: Path) -> Iterator[TextIO]:
    """A manifest for text, compressed if its name says so. As `runtime.new_files.new_file`."""
    if not is_compressed_name(path):
        with new_text_file(path) as file:
            yield file
        return
    with new_file(path) as compressed, compressed_text(compressed) as file:
        yield file


def is_compressed_name(path: Path) -> bool:
    """Whether a lock of this name is written compressed."""
    return path.suffix.casefold() == ".zst"


def rows_of_series(series: Series, wanted: Mapping[SeriesUid, Sequence[SopInstanceUid]]) -> Iterator[ManifestRow]:
    """The row of a Series, or those of its `wanted` instances."""
    row = ManifestRow(
        collection=series.collection,
        patient_id=series.patient_id,
        study_uid=series.study_uid,
        series_uid=series.series_uid,
        location=series.location,
    )
    if series.series_uid in wanted:
        yield from (replace(row, sop_uid=sop_uid) for sop_uid in wanted[series.series_uid])
    else:
        yield replace(row, image_count=series.image_count, size_bytes=series.size_bytes)


class _Counted:
    """Rows, counted while they are read."""

    def __init__(self, rows: Iterable[ManifestRow]) -> None:
        self.series = DigestTable(only_counts=True)
        self.instances = 0
        self.unplaced = 0  # instances of which it is not known where they lie
        self._rows = rows

    def __iter__(self) -> Iterator[ManifestRow]:
        for row in self._rows:
            self.instances += row.sop_uid is not None or (row.place is not None and _is_object(row.place))
            self.unplaced += row.sop_uid is not None and not _is_object(row.location or "")
            if named := row.series_uid or (row.slide.address if row.slide else folder_of(row.place or "")):
                self.series.add(named)
            yield row


@contextmanager
def _reading(content: bytes | OpenFile, name: str, *, skip_bad_lines: bool = False) -> Iterator[ManifestReading]:
    """A manifest while it is read, line by line. Messages call it `name`."""
    if is_lock(content):
        with open_lines(content, name) as lines:
            yield locked.read(lines, Remarks(name))
    else:
        yield open_manifest(content, source=name, skip_bad_lines=skip_bad_lines)


def _rows_of_mirror(journal: Journal) -> Iterator[Iterator[ManifestRow]]:
    for row in journal.all_series():
        uid, wanted = row.series.series_uid, {}
        if row.is_in_part:
            wanted = {uid: [held.sop_uid for held in journal.held_of_series(uid)]}
        if row.held:
            yield rows_of_series(row.series, wanted)


def _key(row: ManifestRow) -> _Key:
    """What a row names: the level, and its UID or name."""
    if row.slide is not None:
        return "slide", row.slide.address
    if row.series_uid:
        named = row.sop_uid is not None
        return ("instance", f"{row.series_uid}/{row.sop_uid}") if named else ("series", row.series_uid)
    if row.study_uid:
        return "study", row.study_uid
    if row.patient_id:
        return "patient", f"{row.collection}/{row.patient_id}" if row.collection else row.patient_id
    if row.place is not None:
        return "object" if _is_object(row.place) else "folder", row.place
    return "collection", row.collection


def _is_object(location: str) -> bool:
    """Whether a location is that of one object in a folder."""
    return location.endswith(".dcm")


def _difference(before: ManifestRow, after: ManifestRow) -> str:
    pairs = ((before.image_count, after.image_count, "instances"), (before.size_bytes, after.size_bytes, "bytes"))
    parts = (
        f"{old:,} → {new:,} {unit}" for old, new, unit in pairs if old is not None and new is not None and old != new
    )
    return ", ".join(parts)
