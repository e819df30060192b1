"""Formats are detected from the content; real manifests and the samples of this repository are read."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import ManifestError
from bulkdl.manifest import Manifest, read_manifest
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


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("CTDC-Restricted-CMB-Manifest.csv", "Cancer Research Data Commons"),
        ("pathdb-first-rows.tsv", "PathDB"),
        ("pathdb-test.xlsx", "XLSX workbook"),
        ("studies-first-rows.csv", "--study"),
        ("study_manifest_aws.s5cmd", "s5cmd manifest of the Imaging Data Commons"),
        ("prior_version_manifest.s5cmd", "s5cmd manifest of the Imaging Data Commons"),
    ],
)
def test_names_real_manifests_of_other_kinds(name: str, says: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(DATA / name)
    assert str(caught.value).startswith(name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file_format", "count"), [("sample.tcia", "tcia", 4), ("sample.txt", "list", 3), ("sample.csv", "csv", 3)]
)
def test_every_sample_can_be_read(name: str, file_format: str, count: int) -> None:
    manifest = read(SAMPLES / name)
    assert (manifest.format, len(manifest.series)) == (file_format, count)


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
        (b'{"series": []}', "this is JSON"),
        (b'\n[\n"1.2.3"]', "this is JSON"),
        (b"<html></html>", "XML or HTML"),
        (b"PK\x03\x04rest", "XLSX workbook"),
        (gzip.compress(TCIA, mtime=0), "gzip"),
        (b"%PDF-1.7", "PDF"),
        (bytes(128) + b"DICM", "DICOM file"),
        (b"abc\0def", "binary file"),
        (b"manifestVersion=3.0\n", "no list of series found"),
    ],
)
def test_names_an_unsupported_format(content: bytes, says: str) -> None:
    with pytest.raises(ManifestError, match=f"input: .*{says}"):
        read_manifest(content, source="input")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_other_input_is_a_manifest_error(content: bytes) -> None:
    """Any input gives a manifest or an error of one line, never a traceback."""
    message = ""
    try:
        assert read_manifest(content, source="-").series
    except ManifestError as error:
        message = str(error)
    assert "\n" not in message
