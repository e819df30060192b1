"""The last answers about data sets, kept in the user's cache: for `ls` without a network, and for completion.

One file for each source, of the data sets that it knows. A file that cannot be read counts as no answer; one that
cannot be written is ignored. Light to import, because a shell waits for completions. Blocking.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bulkdl.errors import DiskError
from bulkdl.model.data_sets import DataSet, DataSetDownload, DataSetKind, DownloadWay
from bulkdl.runtime.disk import replace_file

_FOLDER: Final = "answers"
_VERSION: Final = 1
_FRESH: Final = timedelta(days=1)
_MOST_BYTES: Final = 128 << 20
_TEXTS: Final = ("source", "address", "archive", "stamp", "release")
_ONE_OF: Final = {"kind": DataSetKind, "way": DownloadWay}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What a source said, and when. `archive` is the name of the archive that was asked, empty for a service.

    `stamp` identifies the files that the answer was made from; without one it is fresh for a day. `release` names the
    release of an index.
    """

    source: str
    address: str
    archive: str = ""
    stamp: str = ""
    release: str = ""
    time: datetime
    data_sets: tuple[DataSet, ...] = ()

    def is_fresh(self, stamp: str, now: datetime) -> bool:
        """Whether the source need not be asked again. An answer from the future is not fresh: a clock was wrong."""
        return self.stamp == stamp if stamp else timedelta(0) <= now - self.time < _FRESH


def read_answer(cache: Path, source: str, address: str) -> KeptAnswer | None:
    """The last answer of a source at an address; None if none is kept."""
    return _read(_path(cache, source, address))


def keep_answer(cache: Path, answer: KeptAnswer) -> None:
    """Keep an answer, for its owner alone, in place of the one before it."""
    document = {
        "version": _VERSION,
        **{name: getattr(answer, name) for name in _TEXTS},
        "time": answer.time.isoformat(),
        "data_sets": [_filled(each) for each in answer.data_sets],
    }
    path = _path(cache, answer.source, answer.address)
    with suppress(DiskError, OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, json.dumps(document, ensure_ascii=False).encode(errors="replace"))


def known_names(cache: Path, archive: str) -> tuple[str, ...]:
    """The names of the Collections in the last answers of an archive, sorted."""
    answers = (_read(path) for path in sorted((cache / _FOLDER).glob("*.json")))
    chosen = (each for answer in answers if answer and answer.archive == archive for each in answer.data_sets)
    return tuple(sorted({each.name for each in chosen if each.in_archive}, key=str.casefold))


def _path(cache: Path, source: str, address: str) -> Path:
    return cache / _FOLDER / f"{source}-{hashlib.sha256(address.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> KeptAnswer | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        document = json.loads(path.read_bytes())
        if document["version"] != _VERSION:
            return None
        return KeptAnswer(
            **{name: _text(document[name]) for name in _TEXTS},
            time=datetime.fromisoformat(document["time"]).astimezone(UTC),
            data_sets=tuple(_data_set(each) for each in document["data_sets"]),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _filled(one: DataSet) -> dict[str, Any]:
    """A data set without what is not known of it."""
    values = asdict(one)
    values["downloads"] = [_without_empty(each) for each in values["downloads"]]
    return _without_empty(values)


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not (value is None or value is False or value in ((), []))}


def _data_set(values: Mapping[str, Any]) -> DataSet:
    downloads = tuple(DataSetDownload(**_typed(each, DataSetDownload)) for each in values.get("downloads", ()))
    return replace(DataSet(**_typed(values, DataSet)), downloads=downloads)


def _typed(values: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Values of JSON as the fields of a dataclass have them. Raises TypeError: one is of another type."""
    known = {entry.name: entry.type for entry in fields(kind)}
    return dict(_typed_values(values, known))


def _typed_values(values: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name == "downloads":
            continue
        if name in _ONE_OF:
            yield name, _ONE_OF[name](value)
        elif isinstance(value, list):
            yield name, tuple(map(_text, value))
        else:
            if str(known[name]).partition(" ")[0] != type(value).__name__:
                raise TypeError(value)
            yield name, value
