"""`open`: a mirror for analysis: tables, paths, data sets of pydicom and volumes. It only reads, and takes no lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from bulkdl.dicom.volume import DataSet, Volume, has_pixels, read_data_set, read_volume, require_highdicom
from bulkdl.errors import ConfigurationError, InvalidVolume, SelectionError
from bulkdl.model.ids import is_plain_file
from bulkdl.model.selection import Selection, keywords_of_records
from bulkdl.verbs.calls.signatures import Given, Paths
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.select import select
from bulkdl.verbs.tables.journal_tables import ExportTable, read_table
from bulkdl.verbs.tables.records import import_extra

_FRAMES: Final[Mapping[str, Callable[[Any, list[dict[str, Any]]], Any]]] = {
    "pandas": lambda pandas, rows: pandas.DataFrame(rows),
    "polars": lambda polars, rows: polars.DataFrame(rows, infer_schema_length=None),
    "pyarrow": lambda pyarrow, rows: pyarrow.Table.from_pylist(rows),
}


class Mirror:
    """A mirror, opened for reading. `path` is its folder.

    Each method takes the criteria of `select` that a record of a Series has: `collection`, `patient`, `study`,
    `series`, `modality`, `body_part`, `manufacturer`, … The values of one are alternatives, different criteria
    narrow; without criteria it is the whole mirror. The methods read the journal anew at each call, so a mirror may be
    open while a run works on it. Only held instances count as files. All methods block.

    Each raises JournalError: the journal cannot be read; and SelectionError: a criterion is unknown, or cannot
    be compared with a record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"bulkdl.open({str(self.path)!r})"

    def series(self, *, library: str | None = None, **criteria: Given) -> Any:
        """The Series in the journal as a data frame, one row each, with the columns of `export --table series`.

        `library` is `pandas`, `polars` or `pyarrow`; the first of them that is installed otherwise. Raises
        ConfigurationError: it is not installed.
        """
        return _frame(list(self._rows(ExportTable.SERIES, criteria)), library)

    def instances(self, *, library: str | None = None, **criteria: Given) -> Any:
        """The instances in the journal as a data frame, with the columns of `export --table instances`.

        `path` is relative to the mirror; `library` and errors are as for `series`.
        """
        return _frame(list(self._rows(ExportTable.INSTANCES, criteria)), library)

    def paths(self, **criteria: Given) -> Iterator[Path]:
        """The files of all held instances, Series by Series, each by SOP Instance UID. They are not opened."""
        return (self.path / row["path"] for row in self._held(criteria))

    def datasets(self, **criteria: Given) -> Iterator[DataSet]:
        """The held instances as pydicom data sets, in the order of `paths`. Each file is read when it is its turn.

        Files that are not DICOM, such as slides, are skipped.

        Raises OSError, or pydicom's InvalidDicomError: a file is missing or invalid; `bulkdl verify` says which are.
        """
        return (read_data_set(path) for path in self.paths(**criteria) if not is_plain_file(path.name))

    def volumes(
        self, *, on_error: Callable[[InvalidVolume], object] | None = None, **criteria: Given
    ) -> Iterator[Volume]:
        """The images of each Series as an array of float32 with its place in the Patient: see `Volume`.

        Series without images, as RTSTRUCT and SR, are skipped. A Series that is not one volume (a slice is missing,
        for example) raises InvalidVolume, or calls `on_error` with it and is skipped. Needs `bulkdl[volumes]`; raises
        ConfigurationError without it.
        """
        require_highdicom()
        for series_uid, rows in groupby(self._held(criteria), key=lambda row: str(row["series_uid"])):
            paths = [self.path / row["path"] for row in rows if not is_plain_file(row["path"])]
            if not paths or not has_pixels(paths[0]):
                continue
            try:
                yield read_volume(series_uid, paths)
            except InvalidVolume as error:
                if on_error is None:
                    raise
                on_error(error)

    def _held(self, criteria: Mapping[str, Given]) -> Iterator[dict[str, Any]]:
        return (row for row in self._rows(ExportTable.INSTANCES, criteria) if row["state"] == "held")

    def _rows(self, table: ExportTable, criteria: Mapping[str, Given]) -> Iterator[dict[str, Any]]:
        return read_table(self.path, table, _selection(criteria))


def open(mirror: Paths) -> Mirror:  # noqa: A001 - `bulkdl.open` is what users look for
    """Open a mirror for reading. Raises JournalUnreadable: there is no mirror."""
    path = Path(mirror)
    require_mirror(path)
    return Mirror(path)


def _selection(criteria: Mapping[str, Given]) -> Selection:
    if refused := sorted(criteria.keys() - keywords_of_records()):
        known = ", ".join(sorted(keywords_of_records()))
        raise SelectionError(f"{', '.join(refused)}: not known of a Series in a mirror; name one of {known}")
    return select(**criteria) if criteria else select(everything=True)


def _frame(rows: list[dict[str, Any]], library: str | None) -> Any:
    if library is not None and library not in _FRAMES:
        raise ConfigurationError(f"{library!r} is not one of {', '.join(_FRAMES)}")
    if library is not None:
        return _FRAMES[library](import_extra(library), rows)
    for name, make in _FRAMES.items():
        try:
            return make(import_extra(name), rows)
        except ConfigurationError:
            continue
    raise ConfigurationError("a data frame needs pandas, polars or pyarrow: pip install 'bulkdl[pandas]'")
