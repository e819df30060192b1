"""`manifest diff`: what two manifests or locks name, and what they state otherwise. Blocking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from os import PathLike
from typing import TypeAlias

from bulkdl.manifest import ManifestRow
from bulkdl.manifest.locked import LockedGroup, LockedInstance
from bulkdl.manifest.text import OpenFile
from bulkdl.model.formatting import counted
from bulkdl.model.reports.manifest import ManifestDifference
from bulkdl.verbs.locks.files import LockSource, is_lock, open_lock
from bulkdl.verbs.manifests.files import reading
from bulkdl.verbs.manifests.rows import is_object
from bulkdl.verbs.select import content_of

_Key: TypeAlias = tuple[str, str]


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
    with reading(content, name) as manifest:
        return {_key(row): row for row in manifest.rows}


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
        return "object" if is_object(row.place) else "folder", row.place
    return "collection", row.collection


def _difference(before: ManifestRow, after: ManifestRow) -> str:
    pairs = ((before.image_count, after.image_count, "instances"), (before.size_bytes, after.size_bytes, "bytes"))
    parts = (
        f"{old:,} → {new:,} {unit}" for old, new, unit in pairs if old is not None and new is not None and old != new
    )
    return ", ".join(parts)
