"""Selections from criteria, and from manifests of any known format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

from bulkdl.errors import ManifestError, SelectionError
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.options import several
from bulkdl.model.selection import Selection, merge_series
from bulkdl.runtime.disk import is_file
from bulkdl.verbs.calls.signatures import Given, Paths, full_signature

if TYPE_CHECKING:
    from bulkdl.manifest.locked import LockedGroup
    from bulkdl.manifest.text import OpenFile
    from bulkdl.model.ids import SeriesUid, SopInstanceUid

_MOST_NAMED: Final = 1_000_000
_MOST_BYTES_OF_A_PIPE: Final = 4 << 30  # or of a device: they do not state their sizes
_MOST_IN_MEMORY: Final = 1 << 20
_OF_MANIFESTS: Final = frozenset(
    {".tcia", ".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".s5cmd", ".txt", ".lock", ".zst"}
)

Wanted: TypeAlias = Selection | Paths | Sequence[Paths] | None
"""What a verb is to select: a selection; or data sets by name, for which see `verbs.selections`; or criteria alone."""


def select(**criteria: Given) -> Selection:
    """Make a selection, for `mirror` and `plan`.

    `manifest` names files of any known format. With `skip_bad_lines` their invalid lines are skipped and counted.

    Raises:
        SelectionError: nothing is selected, or a criterion is unknown or invalid.
        InvalidUid: a Study or Series UID is invalid.
        ManifestError: a manifest cannot be read.
    """
    return _select((), criteria)


select.__signature__ = full_signature(select)  # type: ignore[attr-defined] # what help() and notebooks show


def _select(words: Iterable[Paths], criteria: Mapping[str, Given]) -> Selection:
    further = {name: value for name, value in criteria.items() if name not in {"manifest", "skip_bad_lines"}}
    skip = bool(criteria.get("skip_bad_lines"))
    named = select_data_sets(words, Selection.from_keywords(further), skip_bad_lines=skip)
    manifests = (select_from_file(path, skip_bad_lines=skip) for path in several(criteria.get("manifest") or ()))
    return merge_manifests(named, manifests)


def merge_manifests(selection: Selection, manifests: Iterable[Selection]) -> Selection:
    """The selection with the Series of all manifests. Raises SelectionError: nothing is selected."""
    merged = merge_series([selection, *manifests])
    merged.check()
    if not all(name.strip() for name in merged.collections):
        raise SelectionError("an empty name was given: a collection has a name")
    return merged


def select_from_file(path: Paths, *, skip_bad_lines: bool = False) -> Selection:
    """What the manifest at `path` requests. Raises ManifestError: it cannot be read."""
    from bulkdl.verbs.locks.files import is_lock  # noqa: PLC0415 - late: most selections have no manifest

    if is_lock(path):
        return _select_lock(str(path), str(path))
    return select_from(content_of(path), source=str(path), skip_bad_lines=skip_bad_lines)


def _select_lock(lock: str | bytes | OpenFile, source: str) -> Selection:
    """The instances of a lock; of one with millions, the whole Series: the journal has no room for a longer list."""
    from bulkdl.verbs.locks.files import open_lock  # noqa: PLC0415 - as above

    narrowed: list[tuple[SeriesUid, tuple[SopInstanceUid, ...]]] = []
    with open_lock(lock, source) as (head, groups):
        is_narrowed = head.instances <= _MOST_NAMED
        uids = tuple(_narrow(groups, narrowed if is_narrowed else None))
    return Selection(series=uids, instances=tuple(narrowed), locks=(lock,))


def _narrow(
    groups: Iterable[LockedGroup], narrowed: list[tuple[SeriesUid, tuple[SopInstanceUid, ...]]] | None
) -> Iterator[SeriesUid]:
    """The Series of a lock. Those of which all instances have a UID are added to `narrowed`, if that is there."""
    for series, instances in groups:
        yield series.series_uid
        sop_uids = tuple(each.sop_uid for each in instances if each.sop_uid is not None)
        if narrowed is not None and len(sop_uids) == len(instances):
            narrowed.append((series.series_uid, sop_uids))


def read_content(
    path: Paths,
    opened: BinaryIO | None = None,
    *,
    at_most: int = _MOST_BYTES_OF_A_PIPE,
    in_memory: int = _MOST_IN_MEMORY,
) -> bytes | OpenFile:
    """The content of what can be read once only, such as a pipe, which may be `opened` already.

    One of more bytes than are to be `in_memory` is copied to a temporary file; the result opens that, any number of
    times. Of a binary file, which no reader accepts, the result is the beginning.

    Raises ManifestError: it cannot be read, or has more than `at_most` bytes; DiskError: the copy cannot be written.
    """
    from bulkdl.manifest import is_binary  # noqa: PLC0415 - late: most manifests are files
    from bulkdl.runtime.stored_copy import StoredCopy  # noqa: PLC0415 - as above

    try:
        with Path(path).open("rb") if opened is None else nullcontext(opened) as file:
            beginning = file.read(in_memory)
            if len(beginning) < in_memory or is_binary(beginning):
                return beginning
            return StoredCopy(file, beginning, at_most=at_most).open
    except OSError as error:
        raise _unreadable(path, error) from error


def content_of(path: Paths) -> bytes | OpenFile:
    """What opens a manifest as often as it is needed; its content where it can be read once only, such as a pipe."""
    return partial(_opened, path) if is_file(path) else read_content(path)


def _opened(path: Paths) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Paths, error: OSError) -> ManifestError:
    return ManifestError(f"cannot be read: {error.strerror or error}", source=str(path))


def select_from(content: bytes | OpenFile, *, source: str, skip_bad_lines: bool = False) -> Selection:
    """What a manifest of any known format names: Series, instances, Studies, Patients and Collections.

    `source` is its name in messages. Other content, such as its download server, is ignored. Raises as `read_manifest`.
    """
    from bulkdl.manifest import collect, open_manifest  # noqa: PLC0415 - late: most selections have no manifest
    from bulkdl.verbs.locks.files import is_lock  # noqa: PLC0415 - as above

    if is_lock(content):
        return _select_lock(content, source)
    manifest = collect(open_manifest(content, source=source, skip_bad_lines=skip_bad_lines))
    patients: defaultdict[str, list[str]] = defaultdict(list)  # by Collection
    for collection, patient_id in manifest.patients:
        patients[collection].append(patient_id)
    coarser = (
        *([Selection(studies=manifest.studies)] if manifest.studies else ()),
        *(Selection(collections=(name,) if name else (), patients=tuple(ids)) for name, ids in patients.items()),
        *([Selection(collections=manifest.collections)] if manifest.collections else ()),
        *([Selection(locations=manifest.locations)] if manifest.locations else ()),
        *([Selection(slides=manifest.slides)] if manifest.slides else ()),
    )
    return Selection(
        series=manifest.series,
        instances=manifest.instances,
        alternatives=coarser,
        notes=manifest.notes,
        expected=manifest.expected,
    )


def select_data_sets(words: Iterable[Paths], selection: Selection, *, skip_bad_lines: bool = False) -> Selection:
    """`selection` with data sets that are named plainly. A file is a manifest; others are the archive's to know."""
    names = [str(word) for word in words]
    files = {name for name in names if is_file(name) or Path(name).suffix.casefold() in _OF_MANIFESTS}
    data_sets = tuple(name for name in names if name not in files)
    manifests = (select_from_file(name, skip_bad_lines=skip_bad_lines) for name in sorted(files, key=names.index))
    return merge_series([replace(selection, data_sets=data_sets), *manifests])


def choose_selection(selection: Wanted, criteria: Mapping[str, Given], sink: Sink = ignore) -> Selection:
    """`selection`, or one of names and `criteria`; `sink` receives its notes. Raises SelectionError: both are given."""
    if isinstance(selection, Selection):
        if criteria:
            raise SelectionError(f"a selection cannot be combined with further criteria ({', '.join(criteria)})")
        chosen = selection
    else:
        chosen = _select(several(selection or ()), criteria)
    chosen.check()
    for note in chosen.notes:
        sink(Noted(note))
    return chosen
