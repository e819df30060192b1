"""Formats are detected from the content; real manifests and the samples of this repository are read."""

from __future__ import annotations

import codecs
import gzip
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import ManifestError
from bulkdl.manifest import Manifest, ManifestRow, read_manifest
from bulkdl.manifest.writing import ManifestFormat, write_rows
from bulkdl.model.drs_objects import DrsObject
from bulkdl.model.records import SeriesSize

DATA = Path(__file__).parents[1] / "data" / "manifests"
SAMPLES = Path(__file__).parents[2] / "manifests"
TCIA = b"manifestVersion=3.0\nListOfSeriesToDownload=\n1.2.3.4\n"
TABLE = b"Modality,SeriesInstanceUID\nCT,1.2.3.4\n"
LIST = b"1.2.3.4\n"


def read(path: Path) -> Manifest:
    return read_manifest(path.read_bytes(), source=path.name)


@pytest.mark.parametrize(
    ("name", "file_format", "count"),
    [
        ("small_manifest.tcia", "tcia", 5),
        ("nbia-cmb-aml-test.tcia", "tcia", 14),
        ("NBIA-manifest-sample-ct-lower-extremity.tcia", "tcia", 5),
        ("BSC-DBT-first-series.tcia", "tcia", 14),
        ("retry-cases-data.csv", "csv", 10),
        ("nlst-headerless-pairs.csv", "csv", 20),
        ("pet-ct-first-pairs.csv", "csv", 20),
    ],
)
def test_reads_real_manifests(name: str, file_format: str, count: int) -> None:
    manifest = read(DATA / name)
    assert (manifest.format, len(manifest.series)) == (file_format, count)


def test_reads_the_expected_counts_of_a_real_table() -> None:
    manifest = read(DATA / "retry-cases-data.csv")
    assert manifest.expected[manifest.series[0]] == SeriesSize(None, 150)


def test_a_real_manifest_of_a_data_commons_names_objects_with_what_it_says_of_them() -> None:
    manifest = read(DATA / "CTDC-Restricted-CMB-Manifest.csv")
    first, second = (DrsObject.parse(location) for location in manifest.locations)
    assert (manifest.format, manifest.series) == ("csv", ())
    assert first == DrsObject(
        object_id="dg.4DFC/870175D4-EE9A-4A64-BF7A-6CDDB18C22BD",
        host="nci-crdc.datacommons.io",
        name="MSB-00140-06-genomic-report-CTDCv1",
        collection="CMB",
        patient_id="MSB-00140",
        md5=bytes.fromhex("dd970cc07d55b06754594e8177826b93"),
    )
    assert second.object_id == "dg.4DFC/CC00EEF6-1730-40B3-9FA6-3D8FCD39EB83"


@pytest.mark.parametrize(
    ("content", "uri", "series_uid", "size_bytes"),
    [
        (b"File Name\tFile ID\tFile Size\n1.2.3.zip\tdg.4DFC/0c1e\t99\n", "drs://dg.4DFC:0c1e", "1.2.3", 99),
        (
            b'[{"object_id": "dg.X/0c1e", "file_name": "a.zip", "file_size": 7, "commons_url": "https://a.example/"}]',
            "drs://a.example/dg.X/0c1e",
            None,
            7,
        ),
        (b"drs://a.example/x/y # comment\n", "drs://a.example/x/y", None, None),
        (
            b"Series Instance UID,File ID,Size\n1.2.3,870175D4-EE9A-4A64-BF7A-6CDDB18C22BD,3.2 GB\n",
            "drs://nci-crdc.datacommons.io/870175D4-EE9A-4A64-BF7A-6CDDB18C22BD",
            "1.2.3",
            None,
        ),
    ],
    ids=["tsv", "json-of-gen3", "list", "beside-a-series"],
)
def test_manifests_of_data_commons_have_many_forms(
    content: bytes, uri: str, series_uid: str | None, size_bytes: int | None
) -> None:
    (location,) = read_manifest(content, source="m").locations
    found = DrsObject.parse(location)
    assert (found.uri, found.series_uid, found.size_bytes) == (uri, series_uid, size_bytes)
    rows = list(write_rows([ManifestRow(location=location)], ManifestFormat.CSV))
    assert read_manifest("".join(rows).encode(), source="again").locations == (location,)


def test_a_file_id_of_another_kind_beside_a_series_is_left_alone() -> None:
    assert read_manifest(b"SeriesInstanceUID,File ID\n1.2.3,17\n", source="m").series == ("1.2.3",)


@pytest.mark.parametrize(("name", "file_format"), [("pathdb-first-rows.tsv", "tsv"), ("pathdb-test.xlsx", "xlsx")])
def test_reads_real_lists_of_slides(name: str, file_format: str) -> None:
    manifest = read(DATA / name)
    first = manifest.slides[0]
    assert (manifest.format, manifest.series, manifest.collections) == (file_format, (), ())
    assert (first.collection, first.patient_id, first.name) == ("Prostate_MRI", *["MIP-PROSTATE-01-0001"] * 2)
    assert first.address.endswith("/wsi/ross/Prostate-MRI/converted/Prostate-MRI/MIP-PROSTATE-01-0001.tiff")
    assert len({slide.address for slide in manifest.slides}) == len(manifest.slides) > 3


def test_a_table_of_studies_selects_the_studies() -> None:
    manifest = read(DATA / "studies-first-rows.csv")
    assert manifest.series == ()
    assert len(manifest.studies) == len((DATA / "studies-first-rows.csv").read_text().splitlines()) - 1


@pytest.mark.parametrize(
    ("name", "file_format", "count"),
    [
        ("sample.tcia", "tcia", 4),
        ("version4.tcia", "tcia", 2),
        ("sample.txt", "list", 3),
        ("studies.txt", "list", 2),
        ("sample.csv", "csv", 3),
        ("excel.csv", "csv", 2),
        ("metadata.csv", "csv", 3),
        ("mixed-levels.csv", "csv", 2),
        ("patients.csv", "csv", 1),
        ("digest.xlsx", "xlsx", 3),
        ("pairs.csv", "csv", 4),
        ("headerless.tsv", "tsv", 2),
        ("cohort.lock", "lock", 3),
        ("cohort.lock.zst", "lock", 3),
        ("listed.lock", "lock", 3),
        ("folders.s5cmd", "s5cmd", 0),
        ("getseries.json", "json", 3),
        ("series.jsonl", "jsonl", 3),
    ],
)
def test_every_sample_can_be_read(name: str, file_format: str, count: int) -> None:
    manifest = read(SAMPLES / name)
    assert (manifest.format, len(manifest.series)) == (file_format, count)


def test_a_series_that_is_named_again_counts_once_and_is_counted() -> None:
    manifest = read(DATA / "NBIA-manifest-sample-ct-lower-extremity.tcia")
    assert (len(manifest.series), manifest.repeated) == (5, 2)
    assert read(SAMPLES / "headerless.tsv").repeated == 1


def test_the_folders_of_a_sample_are_places() -> None:
    assert len(read(SAMPLES / "folders.s5cmd").locations) == 2


def test_no_sample_is_left_out() -> None:
    marks = test_every_sample_can_be_read.pytestmark  # type: ignore[attr-defined] # pytest adds it
    assert {case[0] for case in marks[0].args[1]} == {path.name for path in SAMPLES.iterdir()}


@pytest.mark.parametrize(("content", "file_format"), [(TCIA, "tcia"), (TABLE, "csv"), (LIST, "list")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tells_the_format_by_the_content(content: bytes, file_format: str, encoding: str, end: str) -> None:
    manifest = read_manifest(content.decode().replace("\n", end).encode(encoding), source="-")
    assert (manifest.format, manifest.series) == (file_format, ("1.2.3.4",))


def test_reads_a_table_in_the_code_page_of_a_spreadsheet() -> None:
    content = "Description,SeriesInstanceUID\nKöpfe,1.2.3.4\n".encode("latin-1")
    assert read_manifest(content, source="-").series == ("1.2.3.4",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (codecs.BOM_UTF8 + b" \r\n", "empty"),
        (b'{"series": []}', "expected an object with SeriesInstanceUID"),
        (b"[]", "the JSON names no series"),
        (b"<html></html>", "XML or HTML"),
        (b"https://faspex.example.org/aspera/faspex/public/package?context=secret", "Aspera package"),
        (b"https://example.org/cohort.tcia", "web addresses: download the manifest"),
        (b"drs://dg.4DFC:0c1e a", "is not a DRS identifier"),
        (b'[{"object_id": "no id/../x", "file_name": "a.zip"}]', "is not a DRS identifier"),
        (b"PK\x03\x04rest", "a zip file that is not a workbook"),
        (b"\xd0\xcf\x11\xe0rest", "an old Excel workbook"),
        (gzip.compress(TCIA, mtime=0), "gzip"),
        (b"%PDF-1.7", "PDF"),
        (b"\x28\xb5\x2f\xfd rest", "Zstandard"),
        (bytes(128) + b"DICM", "DICOM file"),
        (b"abc\0def", "binary file"),
        (b"manifestVersion=3.0\n", "no list of series found"),
    ],
)
def test_names_an_unsupported_format(content: bytes, says: str) -> None:
    with pytest.raises(ManifestError, match=f"input(, line 1)?: .*{says}"):
        read_manifest(content, source="input")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_other_input_is_a_manifest_error(content: bytes) -> None:
    """Any input gives a manifest or an error of one line, never a traceback."""
    message = ""
    try:
        manifest = read_manifest(content, source="-")
        assert manifest.series or manifest.studies or manifest.patients or manifest.collections
    except ManifestError as error:
        message = str(error)
    assert "\n" not in message


BROKEN = {
    "tcia": TCIA + b"1.2.x\n1.2.3.5\n",
    "csv": TABLE + b"CT,1.2.x\nCT,1.2.3.5\n",
    "list": LIST + b"1.2.x\n1.2.3.5\n",
    "json": b'["1.2.3.4",\n{"SeriesInstanceUID": "1.2.x"},\n{"SeriesInstanceUID": "1.2.3.5"}]',
    "jsonl": b'{"SeriesInstanceUID": "1.2.3.4"}\n{"SeriesInstanceUID": "1.2.x"}\n{"SeriesInstanceUID": "1.2.3.5"}\n',
}
LINES = {"tcia": 4, "csv": 3, "list": 2, "json": 2, "jsonl": 2}


@pytest.mark.parametrize("file_format", BROKEN)
def test_an_invalid_line_is_named_or_skipped_and_counted(file_format: str) -> None:
    where = rf"cohort, line {LINES[file_format]}: '1\.2\.x' is not a UID \(1 to 64 digits and dots\)"
    with pytest.raises(ManifestError, match=where):
        read_manifest(BROKEN[file_format], source="cohort")
    manifest = read_manifest(BROKEN[file_format], source="cohort", skip_bad_lines=True)
    assert (manifest.format, manifest.series) == (file_format, ("1.2.3.4", "1.2.3.5"))
    (note,) = manifest.notes
    assert note.startswith("1 invalid line is skipped; the first: cohort, line")


def test_a_manifest_without_a_valid_line_is_an_error_even_if_such_lines_are_skipped() -> None:
    with pytest.raises(ManifestError, match=r"no line is valid; .*line 2"):
        read_manifest(b"SeriesInstanceUID\nx.1\n", source="-", skip_bad_lines=True)


@pytest.mark.slow
def test_a_large_manifest_opens_fast_and_takes_little_memory() -> None:
    content = TCIA + b"".join(b"1.3.6.1.4.1.14519.5.2.1.7009.9004.%d\n" % number for number in range(20_000))
    started = time.process_time()
    assert len(read_manifest(content, source="-").series) == 20_001
    assert time.process_time() - started < 1.0
    tracemalloc.start()
    manifest = read_manifest(content, source="-")
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(manifest.series) == 20_001
    assert peak < 3 * size
