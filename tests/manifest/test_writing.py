"""What is written is read again, and other programs accept it."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bulkdl
from bulkdl.errors import SelectionError
from bulkdl.manifest import ManifestRow, collect, open_manifest, read_manifest
from bulkdl.manifest.locked import LockedInstance, LockedSeries, lock_lines
from bulkdl.manifest.tcia import compose, compose_pieces
from bulkdl.manifest.writing import ManifestFormat, write_rows
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from tests.support.manifest_texts import workbook

UIDS = st.lists(st.integers(0, 99_999).map(str), min_size=4, max_size=8).map(".".join)
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12)
    .map(str.strip)
    .filter(bool),
    st.sampled_from(["NA", "none", "'x", '="y"', "-", "007", "a,b", 'say "x"', "=1+1"]),
)
FOLDER = "00000000-0000-4000-8000-000000000001"
COUNTS = st.none() | st.integers(0, 10**12)
FOLDERS = st.uuids(version=4).map(lambda uuid: f"idc-open-data/{uuid}")
SERIES = st.builds(
    ManifestRow,
    location=st.none() | FOLDERS,
    collection=NAMES | st.just(""),
    patient_id=NAMES | st.just(""),
    study_uid=st.none() | UIDS.map(StudyUid),
    series_uid=UIDS.map(SeriesUid),
    image_count=COUNTS,
    size_bytes=COUNTS,
)
INSTANCES = st.builds(ManifestRow, series_uid=UIDS.map(SeriesUid), sop_uid=UIDS.map(SopInstanceUid))
COARSER = st.one_of(
    st.builds(ManifestRow, study_uid=UIDS.map(StudyUid)),
    st.builds(ManifestRow, patient_id=NAMES, collection=NAMES | st.just("")),
    st.builds(ManifestRow, collection=NAMES),
    st.builds(ManifestRow, location=FOLDERS),
)


PLACED = st.lists(st.builds(ManifestRow, location=FOLDERS), min_size=1, max_size=8, unique_by=lambda row: row.location)


@given(PLACED, st.lists(st.sampled_from([*ManifestFormat][1:]), min_size=1, max_size=4))
def test_the_folders_of_a_bucket_survive_every_form_that_holds_them(
    rows: list[ManifestRow], forms: list[ManifestFormat]
) -> None:
    assert convert(rows, *forms) == rows


def named(row: ManifestRow) -> object:
    return row.place or row.sop_uid or row.series_uid or row.study_uid or (row.collection, row.patient_id)


ROWS = st.lists(SERIES | INSTANCES | COARSER, min_size=1, max_size=12, unique_by=named)


def convert(rows: Sequence[ManifestRow], *forms: ManifestFormat) -> list[ManifestRow]:
    for form in forms:
        content = "".join(write_rows(rows, form)).encode()
        reading = open_manifest(content, source=form)
        assert reading.format == form or (form is ManifestFormat.JSONL and len(rows) == 1)
        rows = list(reading.rows)
        assert reading.remarks.notes() == ()
    return list(rows)


@given(ROWS, st.lists(st.sampled_from([ManifestFormat.CSV, ManifestFormat.JSONL]), min_size=1, max_size=4))
def test_nothing_is_lost_between_forms_that_hold_everything(
    rows: list[ManifestRow], forms: list[ManifestFormat]
) -> None:
    def key(row: ManifestRow) -> str:
        return repr(row)

    assert sorted(convert(rows, *forms), key=key) == sorted(rows, key=key)


@given(
    st.lists(SERIES, min_size=1, max_size=12, unique_by=named),
    st.lists(st.sampled_from([*ManifestFormat][:3]), min_size=1, max_size=4),
)
def test_the_series_survive_every_form_in_order(rows: list[ManifestRow], forms: list[ManifestFormat]) -> None:
    assert [row.series_uid for row in convert(rows, *forms)] == [row.series_uid for row in rows]


@given(
    st.lists(
        SERIES.filter(lambda row: row.location is not None),
        min_size=1,
        max_size=8,
        unique_by=(named, lambda row: row.location),
    ),
    st.lists(st.sampled_from([*ManifestFormat][1:]), min_size=1, max_size=4),
)
def test_the_places_of_series_survive_every_form_that_holds_them(
    rows: list[ManifestRow], forms: list[ManifestFormat]
) -> None:
    found = convert(rows, *forms)
    assert [row.location for row in found] == [row.location for row in rows]
    if ManifestFormat.S5CMD not in forms:  # which holds places alone
        assert found == rows


def as_list(rows: Sequence[ManifestRow]) -> bytes:
    return "\n".join(row.series_uid or "" for row in rows).encode()


def as_tsv(rows: Sequence[ManifestRow]) -> bytes:
    table = csv.reader(io.StringIO("".join(write_rows(rows, ManifestFormat.CSV)), newline=""))
    out = io.StringIO()
    csv.writer(out, delimiter="\t").writerows(table)
    return out.getvalue().encode("utf-16")


def as_array(rows: Sequence[ManifestRow]) -> bytes:
    return json.dumps([json.loads(line) for line in write_rows(rows, ManifestFormat.JSONL)], indent=1).encode()


def as_workbook(rows: Sequence[ManifestRow]) -> bytes:
    return workbook(list(csv.reader(io.StringIO("".join(write_rows(rows, ManifestFormat.CSV)), newline=""))))


def as_lock(rows: Sequence[ManifestRow]) -> bytes:
    groups = [
        (
            LockedSeries(row.series_uid or SeriesUid(""), row.study_uid or "", row.patient_id, row.collection),
            [LockedInstance(SopInstanceUid(f"{row.series_uid}.1"), 1, None, bytes(32))],
        )
        for row in sorted(rows, key=lambda row: row.series_uid or "")
    ]
    return "".join(lock_lines(lambda: groups, archive="", date="")).encode()


# Names that a spreadsheet could not hold as they are, or that XML forbids, are not among those of a workbook.
PLAIN = st.builds(
    ManifestRow,
    collection=st.sampled_from(["", "TCGA-GBM", "Ü b, c"]),
    patient_id=st.sampled_from(["", "P-1", "007"]),
    study_uid=st.none() | UIDS.map(StudyUid),
    series_uid=UIDS.map(SeriesUid),
    image_count=st.none() | st.integers(1, 999),
)


@given(
    st.lists(PLAIN, min_size=1, max_size=6, unique_by=named),
    st.sampled_from([as_list, as_tsv, as_array, as_workbook, as_lock]),
    st.lists(st.sampled_from([*ManifestFormat][:3]), max_size=3),
)
def test_every_form_that_is_read_becomes_every_form_that_is_written(
    rows: list[ManifestRow], source: Callable[[Sequence[ManifestRow]], bytes], forms: list[ManifestFormat]
) -> None:
    read = list(open_manifest(source(rows), source="-").rows)
    found = convert(read, *forms)
    assert sorted(row.series_uid or "" for row in found) == sorted(row.series_uid or "" for row in rows)
    if source is as_list or ManifestFormat.TCIA in forms:
        return

    def context(row: ManifestRow) -> tuple[str, ...]:
        return row.series_uid or "", row.study_uid or "", row.patient_id, row.collection

    assert sorted(map(context, found)) == sorted(map(context, rows))
    if source is as_lock:
        assert {row.sop_uid for row in found} == {f"{row.series_uid}.1" for row in rows}
    else:
        assert {row.series_uid: row.image_count for row in found} == {row.series_uid: row.image_count for row in rows}


@given(st.lists(INSTANCES, min_size=1, max_size=8, unique_by=named), st.sampled_from(["csv", "jsonl", "tcia"]))
def test_the_instances_of_a_lock_survive_every_form_that_holds_them(rows: list[ManifestRow], form: str) -> None:
    by_series: dict[SeriesUid, list[LockedInstance]] = {}
    for row in rows:
        if row.series_uid is not None:
            by_series.setdefault(row.series_uid, []).append(LockedInstance(row.sop_uid, 1, None, bytes(32)))
    by_series = dict(sorted(by_series.items()))
    groups = [(LockedSeries(uid), each) for uid, each in by_series.items()]
    lock = "".join(lock_lines(lambda: groups, archive="", date=""))
    out = io.StringIO()
    bulkdl.manifest_convert("-", out, format=form, content=lock.encode())
    manifest = read_manifest(out.getvalue().encode(), source="-")
    assert manifest.series == tuple(by_series)
    if form != "tcia":
        assert manifest.instances == tuple((uid, tuple(one.sop_uid for one in each)) for uid, each in by_series.items())


def test_the_objects_of_a_lock_are_those_of_its_list_for_s5cmd() -> None:
    keys = [f"idc-open-data/{FOLDER}/{FOLDER[:-1]}{number}.dcm" for number in (2, 3)]
    found = [
        LockedInstance(uid, 1, bytes(16), None, key=key)
        for uid, key in zip((None, SopInstanceUid("1.2")), keys, strict=True)
    ]
    lock = "".join(lock_lines(lambda: [(LockedSeries(SeriesUid("1.2.3")), found)], archive="", date=""))
    out = io.StringIO()
    assert bulkdl.manifest_convert("-", out, format="s5cmd", content=lock.encode()).notes == ()
    assert read_manifest(out.getvalue().encode(), source="-").locations == tuple(keys)


def test_what_several_rows_name_is_written_once() -> None:
    row = ManifestRow(series_uid=SeriesUid("1.2.3.4"))
    assert len(list(write_rows([row, row], ManifestFormat.CSV))) == 2


def test_the_settings_of_a_tcia_manifest_are_kept() -> None:
    text = "".join(
        write_rows(
            [ManifestRow(series_uid=SeriesUid("1.2.3.4"))],
            ManifestFormat.TCIA,
            {"downloadserverurl": "https://a.test/x", "includeAnnotation": "true", "manifestVersion": "2.0"},
        )
    )
    settings = collect(open_manifest(text.encode(), source="-")).settings
    assert settings["downloadServerUrl"] == "https://a.test/x"
    assert (settings["includeAnnotation"], settings["manifestVersion"]) == ("true", "3.0")


@given(st.lists(SERIES, min_size=1, max_size=12, unique_by=named))
def test_other_readers_of_tcia_manifests_find_the_same_series(rows: list[ManifestRow]) -> None:
    """The rules of tcia_utils (six lines of head) and of the Data Retriever's window and command line."""
    expected = [row.series_uid for row in rows]
    text = "".join(write_rows(rows, ManifestFormat.TCIA))
    lines = text.split("\n")
    assert "downloadServerUrl" in lines[0]
    assert lines[6:] == [*expected, ""]
    heading = next(index for index, line in enumerate(lines) if line.lower().startswith("listofseriestodownload"))
    in_window = [re.sub(r"[^0-9.]", "", line) for line in lines[heading + 1 :]]
    assert list(filter(None, in_window)) == expected


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (ManifestRow(collection="A"), "the collection A"),
        (ManifestRow(patient_id="P", collection="A"), "the patient P"),
        (ManifestRow(study_uid=StudyUid("1.2")), "the study 1.2"),
    ],
)
@pytest.mark.parametrize("form", [ManifestFormat.TCIA, ManifestFormat.S5CMD])
def test_a_form_for_series_refuses_other_levels(row: ManifestRow, says: str, form: ManifestFormat) -> None:
    with pytest.raises(SelectionError, match=f"lists series, not {says}; .* bulkdl plan"):
        list(write_rows([row], form))


def test_s5cmd_accepts_what_is_written(tmp_path: Path) -> None:
    rows = [
        ManifestRow(series_uid=SeriesUid(f"1.2.3.{number}"), location=f"idc-open-data/series-{number}")
        for number in range(3)
    ]
    (tmp_path / "a.s5cmd").write_text("".join(write_rows(rows, ManifestFormat.S5CMD)))
    s5cmd = Path(sys.executable).with_name("s5cmd")
    words = [str(s5cmd), "--dry-run", "--no-sign-request", "--endpoint-url", "http://127.0.0.1:9", "--retry-count", "0"]
    done = subprocess.run([*words, "run", "a.s5cmd"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "invalid" not in done.stderr
    assert [f"idc-open-data/series-{number}/*" in done.stderr for number in range(3)] == [True] * 3


def test_a_series_without_a_place_is_named() -> None:
    with pytest.raises(SelectionError, match=r"series 1\.2\.3 lies; use: bulkdl plan --archive idc"):
        list(write_rows([ManifestRow(series_uid=SeriesUid("1.2.3"))], ManifestFormat.S5CMD))


def test_a_folder_without_uids_is_not_written_where_uids_are_needed() -> None:
    with pytest.raises(SelectionError, match="s3://idc-open-data/"):
        list(write_rows([ManifestRow(location=f"idc-open-data/{FOLDER}")], ManifestFormat.TCIA))


def test_folders_and_objects_come_back_as_they_were() -> None:
    places = [f"idc-open-data/{FOLDER}", f"idc-open-data-two/{FOLDER}/{FOLDER}.dcm"]
    text = "".join(write_rows([ManifestRow(location=place) for place in [*places, places[0]]], ManifestFormat.S5CMD))
    assert read_manifest(text.encode(), source="m").locations == tuple(places)


def test_a_series_of_which_some_objects_are_planned_is_written_by_these() -> None:
    names = [f"{FOLDER}.dcm", f"{FOLDER[:-1]}2.dcm"]
    row = ManifestRow(series_uid=SeriesUid("1.2.3.4"), location=f"idc-open-data/{FOLDER}/{','.join(names)}")
    text = "".join(write_rows([row], ManifestFormat.S5CMD))
    assert read_manifest(text.encode(), source="m").locations == tuple(
        f"idc-open-data/{FOLDER}/{name}" for name in names
    )


def test_a_large_tcia_manifest_comes_in_pieces() -> None:
    uids = [f"1.2.{number}" for number in range(10_000)]
    pieces = list(compose_pieces(uids, archive="https://example.org/nbia-api", name="many.tcia"))
    assert len(pieces) > 2
    assert "".join(pieces) == compose(uids, archive="https://example.org/nbia-api", name="many.tcia")
    assert "".join(pieces).splitlines()[-len(uids) :] == uids
