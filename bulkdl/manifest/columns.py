"""Which columns of a table, or keys of a JSON object, name what: the same spellings for every form.

A name is compared without case, spaces and punctuation. It means Series if it is or ends in "Series Instance UID" or
"Series UID" (`SeriesInstanceUID`, `Series UID`, `pet_series_instance_uid`), or is "Series ID"; the names of the other
levels are below. All columns of Series are read, row by row from left to right: a table of pairs selects both.

The finest column of a table says what its rows name. A row whose cell there is empty, as in tables of Patients of whom
some have no imaging, is left out and counted. It names its Patient, Study or Collection only where that is all that the
row has, and where the coarser columns are not merely the context of the finest one: in tables of one such column beside
that of the Series, every row has it.

A column of identifiers of DRS (drs_uri; File ID, object_id, … with such values) names objects of a data commons,
whatever other columns there are: see `drs`.

A column of addresses of images (imageUrl, wsiimage_url) names slides of PathDB, where no column names Series.

A column of locations (Location, series_aws_url, gcs_url, …) has the folders of Series in the buckets of the IDC. It
names them where a row has no Series UID.

Sizes and numbers of instances are read if each row is one Series and the numbers are exact. A rounded size ("17.89 MB",
as NBIA Data Retriever writes it) cannot be compared with bytes and is ignored.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Final

from bulkdl.errors import InvalidUid
from bulkdl.manifest.base import ManifestRow, Remarks
from bulkdl.manifest.drs import DrsColumns, drs_columns_of, is_sure, names_object, object_row
from bulkdl.manifest.plain import without_quotes
from bulkdl.manifest.s5cmd import location_of
from bulkdl.model.ids import SeriesUid, StudyUid, is_uid, parse_series_uid, parse_sop_uid, parse_study_uid
from bulkdl.model.records import NamedSlide
from bulkdl.model.text import one_line, shortened

_SERIES_ENDS: Final = ("seriesinstanceuid", "seriesuid")
_SERIES_NAMES: Final = frozenset({"seriesid", "0020000e"})  # numbers: the keys of DICOM JSON (PS3.18 §F.2)
_STUDY_ENDS: Final = ("studyinstanceuid", "studyuid")
_STUDY_NAMES: Final = frozenset({"0020000d"})
_SOP_NAMES: Final = frozenset({"sopinstanceuid", "sopuid", "instanceuid", "00080018"})
_PATIENT_NAMES: Final = frozenset({"patientid", "patient", "subjectid", "subject", "00100020"})
_COLLECTION_NAMES: Final = frozenset({"collection", "collectionname", "collectionid", "project"})
_SIZE_NAMES: Final = frozenset({"filesize", "filesizebytes", "sizebytes", "sizeinbytes", "totalsizeinbytes"})
_COUNT_NAMES: Final = frozenset({"imagecount", "numberofimages", "objectcount", "instancecount"})
_LOCATION_NAMES: Final = frozenset({"location", "seriesawsurl", "seriesgcsurl", "awsurl", "gcsurl", "s3url"})
_EMPTY: Final = frozenset({"", "na", "nan", "nat", "null", "none", "n/a", "#n/a", "-", "--"})
# pandas writes integers as 118.0 if their column has gaps
_WHOLE_NUMBER: Final = re.compile(r"([0-9]{1,18})(\.0*)?", re.ASCII)
_WEB_ADDRESS: Final = re.compile(r"https?://[^\s/@]+/\S+", re.IGNORECASE)
_SHOWN: Final = 80
_GUARDED: Final = re.compile(r'="(.*)"', re.DOTALL)

_IMAGE_NAMES: Final = frozenset({"imageurl", "wsiimageurl"})
_SLIDE_NAMES: Final = ("imageid", "slideid")  # of tcia_utils, whose `slideId` is a number; of the portal


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that are read, by position. `width` is the number of all columns."""

    width: int
    series: tuple[int, ...] = ()
    study: int | None = None
    patient: int | None = None
    collection: int | None = None
    sop: int | None = None
    size: int | None = None
    count: int | None = None
    location: int | None = None
    drs: DrsColumns | None = None
    image: int | None = None
    slide: int | None = None

    def levels(self) -> tuple[int, ...]:
        """The columns that name something."""
        coarser = (self.collection, self.patient, self.study, self.sop)
        return (*(index for index in coarser if index is not None), *self.series)


class UnusableColumns(ValueError):
    """No column names anything that can be selected, or it is not clear what; the message says what the table is."""


@lru_cache(maxsize=256)
def columns_of(header: tuple[str, ...]) -> Columns:
    """The columns of a table with this header. Raises UnusableColumns: there are none."""
    names = [plain_name(cell) for cell in header]
    drs = drs_columns_of(names)
    if drs is not None and is_sure(names):
        return Columns(len(header), drs=drs)

    def first(*ends: str, among: frozenset[str]) -> int | None:
        exact = (index for index, name in enumerate(names) if name in among or name in ends)
        ending = (index for index, name in enumerate(names) if ends and name.endswith(ends))
        return next(exact, next(ending, None))

    series = tuple(index for index, name in enumerate(names) if names_series(name))
    columns = Columns(
        len(header),
        series,
        study=first(*_STUDY_ENDS, among=_STUDY_NAMES),
        patient=first(among=_PATIENT_NAMES),
        collection=first(among=_COLLECTION_NAMES),
        sop=first(among=_SOP_NAMES),
        # beside instances or several Series, a size is not that of the Series
        size=first(among=_SIZE_NAMES) if len(series) == 1 else None,
        count=first(among=_COUNT_NAMES) if len(series) == 1 else None,
        location=first(among=_LOCATION_NAMES) if len(series) <= 1 else None,
        drs=drs if len(series) <= 1 else None,
    )
    if not series and (image := first(among=_IMAGE_NAMES)) is not None:
        slide = next((names.index(name) for name in _SLIDE_NAMES if name in names), None)
        return Columns(len(header), patient=columns.patient, collection=columns.collection, image=image, slide=slide)
    if columns.sop is not None and len(series) != 1:
        which = "several columns of series UIDs" if series else "no column of series UIDs"
        raise UnusableColumns(f"{which} and one of SOP Instance UIDs: it is not clear which belong together")
    if not columns.levels() and columns.location is None and columns.drs is None:
        raise UnusableColumns("no column names a collection, patient, study or series (SeriesInstanceUID, …)")
    return columns


def rows_of(table: Iterable[tuple[int, Sequence[str]]], columns: Columns, remarks: Remarks) -> Iterator[ManifestRow]:
    """What the rows of a table name. A row is its line and its cells."""
    if columns.drs is not None:
        first = next(iter(table := iter(table)), None)
        table = chain((first,), table) if first is not None else table
        if not columns.series or (first is not None and names_object(columns.drs, partial(cell_text, first[1]))):
            yield from _objects_of(table, columns.drs, remarks)
            return
    if columns.image is not None:
        yield from _slides_of(table, columns, columns.image, remarks)
        return
    coarser: list[tuple[int, ManifestRow]] = []
    are_context = False
    finest = columns.series or tuple(index for index in columns.levels()[-1:])
    others = tuple(sorted(set(range(columns.width)) - {*columns.levels(), columns.location}))
    for line, cells in table:
        try:
            found = _finest(cells, columns)
            if found:
                are_context = are_context or bool(found[0].study_uid or found[0].patient_id or found[0].collection)
                yield from found
            elif (row := _coarser(cells, columns)) and not any(cell_text(cells, index) for index in others):
                coarser.append((line, row))
            else:
                remarks.without(line)
        except InvalidUid as error:
            remarks.invalid(line, error)
    is_gap = are_context and len(columns.levels()) - len(finest) == 1
    for line, row in coarser:
        if is_gap:
            remarks.without(line)
        else:
            yield row


def _objects_of(
    table: Iterable[tuple[int, Sequence[str]]], columns: DrsColumns, remarks: Remarks
) -> Iterator[ManifestRow]:
    for line, cells in table:
        try:
            if (row := object_row(columns, partial(cell_text, cells))) is not None:
                yield row
            else:
                remarks.without(line)
        except ValueError as error:
            remarks.invalid(line, error)


def _slides_of(
    table: Iterable[tuple[int, Sequence[str]]], columns: Columns, image: int, remarks: Remarks
) -> Iterator[ManifestRow]:
    for line, cells in table:
        address = cell_text(cells, image)
        if not address:
            remarks.without(line)
        elif not _WEB_ADDRESS.fullmatch(address):
            remarks.invalid(line, f"{shortened(one_line(address), _SHOWN)!r} is not the address of an image")
        else:
            names = (_name(cells, index) for index in (columns.collection, columns.patient, columns.slide))
            yield ManifestRow(slide=NamedSlide(address, *names))


def _finest(cells: Sequence[str], columns: Columns) -> list[ManifestRow]:
    """What a row names in the finest column of its table; empty if nothing."""
    text = cell_text(cells, columns.location)
    location = location_of(text) if text else None
    if not columns.series:
        if location is not None:
            return [ManifestRow(location=location)]
        row = _coarser(cells, columns)
        is_finest = row is not None and (
            row.study_uid is not None or (columns.study is None and (row.patient_id or columns.patient is None))
        )
        return [row] if row is not None and is_finest else []
    uids = [parse_series_uid(text) for index in columns.series if (text := cell_text(cells, index))]
    sop = cell_text(cells, columns.sop)
    if not uids:
        if sop:
            raise InvalidUid(f"the row names the instance {sop[:80]} without its series")
        return [ManifestRow(location=location)] if location is not None else []
    sop_uid = parse_sop_uid(sop) if sop else None
    is_aligned = len(cells) <= columns.width and sop_uid is None
    study = cell_text(cells, columns.study)
    return [
        ManifestRow(
            collection=_name(cells, columns.collection),
            patient_id=_name(cells, columns.patient),
            study_uid=StudyUid(study) if is_uid(study) else None,
            series_uid=SeriesUid(uid),
            sop_uid=sop_uid,
            image_count=_whole_number(cell_text(cells, columns.count)) if is_aligned else None,
            size_bytes=_whole_number(cell_text(cells, columns.size)) if is_aligned else None,
            location=location,
        )
        for uid in uids
    ]


def _coarser(cells: Sequence[str], columns: Columns) -> ManifestRow | None:
    """The Study, Patient or Collection that a row names; None if it has none."""
    study = cell_text(cells, columns.study)
    row = ManifestRow(
        collection=_name(cells, columns.collection),
        patient_id=_name(cells, columns.patient),
        study_uid=parse_study_uid(study) if study else None,
    )
    return row if study or row.patient_id or row.collection else None


def names_series(cell: str) -> bool:
    """Whether a column of this name holds Series UIDs."""
    name = plain_name(cell)
    return name.endswith(_SERIES_ENDS) or name in _SERIES_NAMES


def plain_name(cell: str) -> str:
    """The name of a column as it is compared."""
    return "".join(character for character in cell.lower() if character.isalnum())


def cell_text(cells: Sequence[str], index: int | None) -> str:
    """A UID or a number in a row; empty where there is none."""
    text = without_quotes(cells[index]) if index is not None and index < len(cells) else ""
    return "" if text.lower() in _EMPTY else text


def _name(cells: Sequence[str], index: int | None) -> str:
    """The name of a Collection or a Patient; only what guards it from a spreadsheet is removed."""
    text = cells[index].strip() if index is not None and index < len(cells) else ""
    if text.startswith("'"):
        return text[1:].strip()
    if guarded := _GUARDED.fullmatch(text):
        return guarded[1].strip()
    return "" if text.lower() in _EMPTY else text


def guarded_name(text: str) -> str:
    """A name as a cell from which a reader takes it again, whatever it looks like."""
    return f"'{text}" if text.startswith(("'", "=")) or text.lower() in _EMPTY - {""} else text


def _whole_number(text: str) -> int | None:
    found = _WHOLE_NUMBER.fullmatch(text)
    return int(found[1]) if found else None
