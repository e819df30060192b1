"""JSON and JSON Lines, as archives and programs write them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import ManifestError
from bulkdl.manifest import Manifest, read_manifest
from bulkdl.model.records import SeriesSize


def read(text: str) -> Manifest:
    return read_manifest(text.encode(), source="a.json")


@pytest.mark.parametrize(
    "document",
    [
        [{"SeriesInstanceUID": "1.2", "Collection": "A"}, {"SeriesInstanceUID": "1.3"}],
        ["1.2", "1.3"],
        {"data": [{"SeriesInstanceUID": "1.2"}, {"SeriesInstanceUID": "1.3"}], "total": 2},
        {"series": ["1.2", "1.3"]},
        [{"0020000E": {"vr": "UI", "Value": ["1.2"]}}, {"0020000E": {"vr": "UI", "Value": ["1.3"]}}],
    ],
    ids=["getSeries", "UIDs", "envelope", "envelope of UIDs", "DICOM JSON"],
)
def test_series_are_found_in_every_form(document: Any) -> None:
    manifest = read(json.dumps(document, indent=1))
    assert (manifest.format, manifest.series) == ("json", ("1.2", "1.3"))


def test_json_lines_are_distinguished_from_one_object() -> None:
    assert read('{"SeriesInstanceUID": "1.2"}\n').format == "json"
    assert read('{"SeriesInstanceUID": "1.2"}\n{"SeriesInstanceUID": "1.3"}\n').format == "jsonl"


def test_each_object_has_a_level_by_its_keys() -> None:
    manifest = read('[{"Collection": "A"}, {"PatientID": "P"}, {"StudyInstanceUID": "1.1", "PatientID": "Q"}]')
    assert (manifest.collections, manifest.patients, manifest.studies) == (("A",), (("", "P"),), ("1.1",))


def test_counts_and_sizes_are_expected() -> None:
    manifest = read('[{"SeriesInstanceUID": "1.2", "ImageCount": 3, "FileSize": 99}, {"SeriesInstanceUID": "1.3"}]')
    assert manifest.expected == {"1.2": SeriesSize(99, 3)}


def test_a_null_is_an_empty_cell() -> None:
    manifest = read('[{"SeriesInstanceUID": null, "PatientID": "P", "Age": 3}, {"SeriesInstanceUID": "1.2"}]')
    assert (manifest.series, manifest.patients, len(manifest.notes)) == (("1.2",), (), 1)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('["1.2",\n 7]', 2, "expected an object with SeriesInstanceUID, .* or a UID, not 7"),
        ('[{"SeriesInstanceUID": "1.2"},\n{"Age": 3}]', 2, "expected an object with SeriesInstanceUID"),
        ('["1.2"\n\n"1.3"]', 3, "expected ',' or ']'"),
        ('["1.2",\n"1.3', 2, "invalid or truncated"),
        ('{"SeriesInstanceUID": "1.2"}\n{"Series', 2, "invalid or truncated"),
        ('["1.2",\n', 2, "invalid or truncated: Expecting value$"),
        ('["1.2",\n' + "[" * 100_000, 2, "it is nested too deeply"),
        ('{"SeriesInstanceUID": "1.2",\n"ImageCount": ' + "9" * 5_000 + "}", 1, "a number has too many digits"),
    ],
)
def test_says_which_line_is_invalid(text: str, line: int, says: str) -> None:
    with pytest.raises(ManifestError, match=f"a.json, line {line}: .*{says}"):
        read(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["SeriesInstanceUID", "PatientID", "Collection", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON, st.integers(0, 3))
def test_any_json_is_a_manifest_or_an_error_of_one_line(document: Any, cut: int) -> None:
    text = json.dumps(document)
    message = ""
    try:
        read(text[: len(text) - cut])
    except ManifestError as error:
        message = str(error)
    assert "\n" not in message
