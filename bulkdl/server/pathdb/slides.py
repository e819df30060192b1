"""The slides that are served: those of the demonstration, and those that mirrors hold. Blocking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from bulkdl.journal.journal import Journal
from bulkdl.model.records import Series, SeriesKind
from bulkdl.runtime.disk import JOURNAL, modified_ns
from bulkdl.slides.dimensions import Dimensions, read_dimensions

_HOME = "system/files/wsi"


@dataclass(frozen=True, slots=True)
class ServedSlide:
    """A slide: its place in a collection, its file, and `key`, its path at the server, without its first slash.

    `modified` is that of the file; `about` is what an archive said of it.
    """

    collection: str
    patient_id: str
    slide_id: str
    path: Path
    key: str
    modified: datetime
    dimensions: Dimensions | None = None
    about: Series | None = None


@dataclass(slots=True)
class ServedSlides:
    """All slides, by collection, patient and name. `mirrors` are read when slides are asked for the first time."""

    given: Sequence[ServedSlide] = ()
    mirrors: Sequence[Path] = ()
    _known: tuple[ServedSlide, ...] | None = field(default=None)

    def all(self, hidden: Iterable[str] = ()) -> tuple[ServedSlide, ...]:
        """The slides that a viewer sees from whom the Collections `hidden`, in upper case, are hidden.

        Raises:
            JournalError: the journal of a mirror cannot be used.
        """
        if (known := self._known) is None:
            held = (slide for mirror in self.mirrors for slide in _held_slides(mirror))
            by_key = {slide.key: slide for slide in (*held, *self.given)}
            ordered = sorted(by_key.values(), key=lambda each: (each.collection, each.patient_id, each.slide_id))
            known = self._known = tuple(replace(each, dimensions=read_dimensions(each.path)) for each in ordered)
        not_seen = frozenset(hidden)
        return tuple(each for each in known if each.collection.upper() not in not_seen)

    def forget(self) -> None:
        """Read the mirrors again the next time: they have changed."""
        self._known = None


def slide_in(path: Path, collection: str, patient_id: str, slide_id: str) -> ServedSlide:
    """A slide that lies at `path`. Raises OSError: it does not."""
    path = path.resolve()
    key = "/".join((_HOME, *(quote(name, safe="") for name in (collection, patient_id, path.name))))
    return ServedSlide(collection, patient_id, slide_id, path, key, _modified(path))


def _held_slides(mirror: Path) -> Iterator[ServedSlide]:
    """The slides of a mirror, whose files are as the journal has them."""
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        for row in journal.all_series():
            series = row.series
            if series.kind is not SeriesKind.SLIDE or not row.held:
                continue
            for held in journal.held_of_series(series.series_uid):
                path = mirror / held.path
                if ".." in path.parts or not _is_as_held(path, held.size_bytes):
                    continue
                key = series.location or ""
                if "://" in key:
                    key = f"{_HOME}/{held.sop_uid}/{quote(path.name, safe='')}"
                slide_id = series.description or path.stem
                yield ServedSlide(
                    series.collection, series.patient_id, slide_id, path, key, _modified(path), about=series
                )


def _is_as_held(path: Path, size_bytes: int) -> bool:
    try:
        return not path.is_symlink() and path.stat().st_size == size_bytes
    except OSError:
        return False


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(modified_ns(path.stat()) // 10**9, tz=UTC)
