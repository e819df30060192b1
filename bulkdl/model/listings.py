"""What `ls` lists, as text for people, and as rows of a table. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from bulkdl.model.data_sets import DataSet, DataSetDownload, DataSetKind, DownloadWay, ListedStudy, series_as_json
from bulkdl.model.formatting import LEAST_WIDTH, command, counted, plural, table
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.ls import LsReport
from bulkdl.model.text import one_line, shortened

_UNKNOWN: Final = "-"
_HEADS: Final = ("patients", "series", "size", "modalities", "licence", "DOI")
_LEFT: Final = (0, 4, 5, 6)
_CUT: Final = (0, 4, 5)
_TITLES: Final = {DataSetKind.COLLECTION: "collection", DataSetKind.ANALYSIS_RESULT: "analysis result"}
_PURPOSE: Final = {
    DownloadWay.CONTROLLED: "controlled access: apply for it first",
    DownloadWay.ASPERA: "an Aspera package: IBM Aspera Connect or ascli downloads it",
    DownloadWay.SLIDES: "slides of PathDB: --archive pathdb",
    DownloadWay.FILE: "a file: mirror --with-supporting-data",
    DownloadWay.PORTAL: "another portal",
    DownloadWay.UNKNOWN: "no link",
}
_DESCRIPTION_CHARACTERS: Final = 600


def listing_text(report: LsReport, width: int | None) -> str:
    """The report of `ls` for people. Tables are cut to `width` columns, if it is given; columns may be left out."""
    parts: list[str] = []
    if report.patients is None and report.studies is None:
        parts += [_data_sets(report.data_sets, kind, width) for kind in DataSetKind]
        parts.append(_summary(report))
    else:
        parts += [_about(each, report.archive_name) for each in report.data_sets]
    if report.patients:
        parts.append(_patients(report, width))
    parts += [_study(each, width) for each in report.studies or ()]
    return "\n\n".join(part for part in parts if part)


def _data_sets(known: Iterable[DataSet], kind: DataSetKind, width: int | None) -> str:
    rows = [_row(each) for each in known if each.kind is kind]
    if not rows:
        return ""
    heads = (_TITLES[kind], *_HEADS)
    return _fitted(heads, rows, _LEFT, _CUT, width)


def _fitted(
    heads: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int], cut: Sequence[int], width: int | None
) -> str:
    """A table of as many of the first columns as fit into `width` if only those of `cut` are cut; of one at least."""
    count = len(heads)
    if width is not None:
        least = [max(len(row[column]) for row in (heads, *rows)) for column in range(count)]
        least = [min(size, LEAST_WIDTH) if column in cut else size for column, size in enumerate(least)]
        fits = (number for number in range(1, count + 1) if sum(least[:number]) + 2 * (number - 1) <= width)
        count = max(fits, default=1)
    text, short = ([number for number in numbers if number < count] for numbers in (left, cut))
    return table(heads[:count], (row[:count] for row in rows), left=text, width=width, cut=short)


def _row(one: DataSet) -> tuple[str, ...]:
    return (
        one.name,
        _number(one.patients),
        _number(one.series) if one.in_archive else "elsewhere",
        _size(one.size_bytes),
        " ".join(one.modalities) or _UNKNOWN,
        ", ".join(one.licenses) or _UNKNOWN,
        one.doi or _UNKNOWN,
    )


def _number(count: int | None) -> str:
    return _UNKNOWN if count is None else f"{count:,}"


def _size(count: int | None) -> str:
    return _UNKNOWN if count is None else human_bytes(count)


def _summary(report: LsReport) -> str:
    counts = {kind: sum(each.kind is kind for each in report.data_sets) for kind in DataSetKind}
    parts = [counted(count, _TITLES[kind]) for kind, count in counts.items() if count]
    elsewhere = sum(not each.in_archive for each in report.data_sets)
    parts += [f"{elsewhere:,} of them elsewhere only"] if elsewhere else []
    releases = [one_line(each.release) for each in report.sources if each.release]
    return one_line("; ".join(filter(None, (", ".join(parts), *releases))))


# --- one data set -----------------------------------------------------------------------------------------------------


def _about(one: DataSet, archive: str | None) -> str:
    lines = [one_line(f"{one.name}: {one.title}" if one.title and one.title != one.name else one.name)]
    facts = [f"https://doi.org/{one.doi}" if one.doi else "", ", ".join(one.licenses)]
    facts += [f"version {one.version}" if one.version else "", f"updated {one.updated}" if one.updated else ""]
    lines += [one_line("; ".join(filter(None, facts)))] if any(facts) else []
    lines.append(_amount(one))
    if one.collections:
        lines.append(f"made from {', '.join(map(one_line, one.collections))}")
    if one.description:
        lines += ["", shortened(one_line(one.description), _DESCRIPTION_CHARACTERS)]
    if one.in_archive:
        named = ("--archive", archive) if archive else ()
        lines += ["", one_line(f"Downloaded by bulkdl: {command('mirror', one.name, *named, '--to', 'DIR')}")]
    lines += _elsewhere(one.downloads)
    return "\n".join(lines)


def _amount(one: DataSet) -> str:
    counts = ((one.patients, "patient"), (one.instances if one.in_archive else None, "instance"))
    parts = [f"{count:,} {plural(word, count)}" for count, word in counts if count is not None]
    if one.in_archive and one.series is not None:
        parts.insert(len(parts) - (one.instances is not None), f"{one.series:,} series")
    parts += [human_bytes(one.size_bytes)] if one.size_bytes is not None else []
    known = one_line(" ".join(one.modalities))
    return "; ".join(filter(None, (", ".join(parts), known))) or "nothing is known of its size"


def _elsewhere(downloads: Sequence[DataSetDownload]) -> list[str]:
    """What bulkdl does not download: what it is, its size, why, and where it is. A link is never cut."""
    others = [each for each in downloads if each.way is not DownloadWay.BULKDL]
    if not others:
        return []
    lines = ["", "Only elsewhere:"]
    for each in others:
        size = f", about {human_bytes(each.size_bytes)}" if each.size_bytes else ""
        lines.append(one_line(f"- {each.title}: {_PURPOSE[each.way]}{size}"))
        lines += [f"  {one_line(text)}" for text in (each.requirements, each.address) if text]
    return lines


def _patients(report: LsReport, width: int | None) -> str:
    patients = report.patients or ()
    is_one = len({each.collection for each in patients}) == 1
    heads = ("patient", *(() if is_one else ("collection",)), "studies", "series", "instances", "size", "modalities")
    rows = [
        (
            each.patient_id,
            *(() if is_one else (each.collection,)),
            f"{each.studies:,}",
            f"{each.series:,}",
            _number(each.instances),
            _size(each.size_bytes),
            " ".join(each.modalities),
        )
        for each in patients
    ]
    left = (0, len(heads) - 1) if is_one else (0, 1, len(heads) - 1)
    return table(heads, rows, left=left, width=width)


def _study(study: ListedStudy, width: int | None) -> str:
    words = (study.date, study.description, f"study {study.study_uid}", f"patient {study.patient_id}")
    heads = ("series", "modality", "instances", "size", "number", "body part", "description")
    rows = [
        (
            each.series_uid,
            each.modality or _UNKNOWN,
            _number(each.image_count),
            _size(each.size_bytes),
            _number(each.series_number),
            each.body_part or _UNKNOWN,
            each.description or _UNKNOWN,
        )
        for each in study.series
    ]
    return f"{one_line('; '.join(filter(None, words)))}\n{_fitted(heads, rows, (0, 1, 5, 6), (5, 6), width)}"


# --- rows -------------------------------------------------------------------------------------------------------------


def listing_rows(report: LsReport) -> Iterator[dict[str, Any]]:
    """What is listed as rows of text, numbers and None: of Series, of Patients, or of data sets."""
    if report.studies is not None:
        for study in report.studies:
            values = {name: value for name, value in study.as_json().items() if name != "series"}
            about = {
                f"study_{name}" if name in {"date", "description"} else name: each for name, each in values.items()
            }
            yield from ({**about, **series_as_json(series)} for series in study.series)
    elif report.patients is not None:
        yield from (_flat(each.as_json()) for each in report.patients)
    else:
        for one in report.data_sets:
            row = {"name": one.name, "kind": one.kind.value, **one.as_json()}
            yield _flat({name: value for name, value in row.items() if name != "downloads"})


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {name: "; ".join(value) if isinstance(value, list) else value for name, value in row.items()}
