"""What every reader of manifests returns: rows while it reads, and then a `Manifest`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Protocol

from bulkdl.errors import ManifestError
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.records import NamedSlide, SeriesSize

_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """What one line of a manifest names: the finest of a Collection, a Patient, a Study, a Series and an instance.

    The coarser ones only say where it belongs. `image_count` and `size_bytes` are those of the whole Series, None where
    the manifest does not state them. `location` is that of `Series`; without a UID it may be that of one object. A row
    with a `slide` names that alone.
    """

    collection: str = ""
    patient_id: str = ""
    study_uid: StudyUid | None = None
    series_uid: SeriesUid | None = None
    sop_uid: SopInstanceUid | None = None
    image_count: int | None = None
    size_bytes: int | None = None
    location: str | None = None
    slide: NamedSlide | None = None

    @property
    def place(self) -> str | None:
        """The folder or object that the row names, where it names nothing else."""
        return self.location if self.series_uid is None else None


class Remarks:
    """What a reader has to say of lines that it does not read. Messages call the manifest `source`.

    The first invalid line ends the reading, unless such lines are to be skipped and counted.
    """

    def __init__(self, source: str, *, skip_bad_lines: bool = False) -> None:
        self.source = source
        self._skip = skip_bad_lines
        self._first_invalid: ManifestError | None = None
        self._invalid = self._without = self._first_without = 0

    def error(self, message: str, line: int | None = None) -> ManifestError:
        """The error that ends the reading."""
        return ManifestError(message, source=self.source, line=line)

    def invalid(self, line: int, why: object) -> None:
        """Count an invalid line. Raises ManifestError, which carries `line`: such lines are not to be skipped."""
        error = self.error(str(why), line)
        if not self._skip:
            raise error from (why if isinstance(why, Exception) else None)
        self._invalid += 1
        self._first_invalid = self._first_invalid or error

    def without(self, line: int) -> None:
        """Count a row that names nothing: in tables of Patients some have no imaging."""
        self._without += 1
        self._first_without = min(self._first_without or line, line)

    def nothing_found(self, what: str) -> ManifestError:
        """The error for a manifest of which no line names anything; `what` says so where it has no such line."""
        if self._first_invalid is not None:
            return self.error(f"no line is valid; {self._first_invalid}")
        if self._without:
            return self.error("no row names a series", self._first_without)
        return self.error(what)

    def notes(self) -> tuple[str, ...]:
        """What to tell the user once everything is read."""
        notes = []
        if count := self._without:
            rows = "1 row names no series and is" if count == 1 else f"{count:,} rows name no series and are"
            notes.append(f"{self.source}: {rows} left out; the first is in line {self._first_without:,}")
        if count := self._invalid:
            lines = "1 invalid line is" if count == 1 else f"{count:,} invalid lines are"
            notes.append(f"{lines} skipped; the first: {self._first_invalid}")
        return tuple(notes)


@dataclass(slots=True)
class ManifestReading:
    """A manifest while it is read: `rows` may be read once, and `remarks` are complete after that.

    `format` is a word for people: `tcia`, `list`, `csv`, `tsv`, `xlsx`, `json`, `jsonl`, `s5cmd`. `settings` are the
    key-value pairs of the manifest as written; they are displayed and otherwise ignored.
    """

    format: str
    rows: Iterator[ManifestRow]
    remarks: Remarks
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest names, in the order of the file, without duplicates.

    `instances` narrows some of the Series to single instances, as `Selection.instances` does: pairs of a Series UID and
    its SOP Instance UIDs. `patients` are pairs of a Collection, empty where it is not given, and a Patient ID.
    `locations` are folders of Series, or objects in them, of which the manifest gives no UIDs; `slides` are images by
    their addresses.
    `notes` say what was left out; `repeated` counts rows that name a Series again. `expected` maps a Series UID to its
    size and number of instances, where the manifest states them. `format` and `settings` are those of
    `ManifestReading`.
    """

    series: tuple[SeriesUid, ...]
    format: str
    instances: tuple[tuple[SeriesUid, tuple[SopInstanceUid, ...]], ...] = ()
    studies: tuple[StudyUid, ...] = ()
    patients: tuple[tuple[str, str], ...] = ()
    collections: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    slides: tuple[NamedSlide, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[SeriesUid, SeriesSize] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    repeated: int = 0


def collect(reading: ManifestReading) -> Manifest:
    """Read all rows. A Series that one row names whole is whole. Raises ManifestError: a line is invalid."""
    series: dict[SeriesUid, dict[SopInstanceUid, None] | None] = {}  # dicts keep the order, sets would not
    studies: dict[StudyUid, None] = {}
    patients: dict[tuple[str, str], None] = {}
    collections: dict[str, None] = {}
    locations: dict[str, None] = {}
    slides: dict[str, NamedSlide] = {}
    expected: dict[SeriesUid, SeriesSize] = {}
    repeated = 0
    for row in reading.rows:
        if row.slide is not None:
            repeated += slides.setdefault(row.slide.address, row.slide) is not row.slide
        elif (uid := row.series_uid) is not None:
            if row.sop_uid is None:
                repeated += series.get(uid, ...) is None
                series[uid] = None
                if row.image_count is not None or row.size_bytes is not None:
                    expected.setdefault(uid, SeriesSize(row.size_bytes, row.image_count))
            elif (narrowed := series.setdefault(uid, {})) is not None:
                narrowed[row.sop_uid] = None
        elif row.study_uid is not None:
            studies[row.study_uid] = None
        elif row.patient_id:
            patients[row.collection, row.patient_id] = None
        elif row.place is not None:
            locations[row.place] = None
        else:
            collections[row.collection] = None
    return Manifest(
        series=tuple(series),
        instances=tuple((uid, tuple(sops)) for uid, sops in series.items() if sops is not None),
        studies=tuple(studies),
        patients=tuple(patients),
        collections=tuple(collections),
        locations=tuple(locations),
        slides=tuple(slides.values()),
        expected=expected,
        format=reading.format,
        settings=reading.settings,
        notes=reading.remarks.notes(),
        repeated=repeated,
    )


def required(rows: Iterator[ManifestRow], remarks: Remarks, what: str) -> Iterator[ManifestRow]:
    """The same rows. Raises ManifestError with the message `what`: there are none."""
    if (begin := next(rows, None)) is None:
        raise remarks.nothing_found(what)
    return chain((begin,), rows)


class Text(Protocol):
    """A text that is read line by line, as often as needed; or in pieces, for what is not made of lines."""

    head: str

    def lines(self) -> Iterator[str]:
        """Its lines, with their ends."""
        ...

    def pieces(self) -> Iterator[str]:
        """All of it, a piece at a time."""
        ...


def lines(text: str) -> Iterator[str]:
    """The lines of a text with their ends, one at a time: a list of all would take as much memory again."""
    return (found[0] for found in _LINE.finditer(text))
