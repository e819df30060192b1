"""Records, and the tables they make."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from datetime import date

import pytest

from bulkdl.archive.nbia.endpoints import NBIA_V1
from bulkdl.verbs.tables.records import Record, Records, columns_of, read_row

SERIES = NBIA_V1["getSeries"]
ROWS = (
    {"SeriesInstanceUID": "1.2.3", "ImageCount": 3, "SeriesDate": "2024-01-31 00:00:00.0", "AnnotationsFlag": True},
    {"SeriesInstanceUID": "1.2.4", "Odd": "kept"},
)


@pytest.fixture
def records() -> Records:
    return Records([read_row(SERIES, row) for row in ROWS], columns=columns_of(SERIES))


def test_an_attribute_that_was_left_out_is_none(records: Records) -> None:
    assert records[1].image_count is None


def test_what_the_table_does_not_know_is_in_the_raw_row(records: Records) -> None:
    assert records[1].raw["Odd"] == "kept"


def test_a_name_that_no_record_has_is_an_attribute_error(records: Records) -> None:
    with pytest.raises(AttributeError, match="series_uid"):
        _ = records[0].serie_uid


def test_a_record_is_not_changed(records: Records) -> None:
    with pytest.raises(AttributeError):
        records[0].image_count = 4


def test_records_are_copied_pickled_and_compared(records: Records) -> None:
    assert copy.deepcopy(records[0]) == pickle.loads(pickle.dumps(records[0])) == records[0]  # noqa: S301 - our own
    assert len({records[0], copy.copy(records[0])}) == 1


def test_a_record_shows_what_it_holds() -> None:
    assert repr(Record({"series_uid": "1.2.3", "modality": None}, {})) == "Record(series_uid='1.2.3')"


def test_pandas_columns_know_missing_values(records: Records) -> None:
    frame = records.to_pandas()
    assert frame["image_count"].dtype == "Int64"
    assert frame["image_count"].isna().tolist() == [False, True]
    assert frame["series_date"][0].date() == date(2024, 1, 31)
    assert frame["annotations"].dtype == "boolean"


def test_arrow_columns_have_the_types_of_the_endpoint(records: Records) -> None:
    table = records.to_arrow()
    assert [str(table.schema.field(name).type) for name in ("series_uid", "image_count", "series_date")] == [
        "string",
        "int64",
        "date32[day]",
    ]
    assert table["image_count"].to_pylist() == [3, None]


def test_a_table_of_no_rows_has_its_columns() -> None:
    empty = Records(columns=columns_of(SERIES))
    assert list(empty.to_pandas().columns) == empty.to_arrow().column_names == list(columns_of(SERIES))


@pytest.mark.parametrize(("library", "method"), [("pandas", "to_pandas"), ("pyarrow", "to_arrow")])
def test_a_missing_library_is_named_with_its_extra(library: str, method: str) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from bulkdl.errors import ConfigurationError\n"
        "from bulkdl.verbs.tables.records import Records\n"
        f"try: Records().{method}()\n"
        "except ConfigurationError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"pip install 'bulkdl[{library}]'" in done.stdout


def test_a_notebook_shows_the_first_rows_as_a_table_of_text() -> None:
    hostile = Record({"a": "<script>", "b": None}, {})
    shown = Records([hostile] * 25, columns={"a": str, "b": int})._repr_html_()
    assert shown.count("<tr>") == 21
    assert "<td>&lt;script&gt;</td><td></td>" in shown
    assert "… and 5 more rows" in shown
