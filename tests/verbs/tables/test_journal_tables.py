"""The columns of the tables of a journal, and the types of their values."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from bulkdl.errors import JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.model.selection import Selection
from bulkdl.verbs.tables.journal_tables import ExportTable, columns, read_table
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances
from tests.support.syncing import mirrored

MADE_UP = list(instances(series=3, per_series=2))


@pytest.mark.parametrize("table", [each for each in ExportTable if each is not ExportTable.HEADERS])
async def test_rows_have_the_columns_and_their_types(table: ExportTable, tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
    types, rows = columns(table), list(read_table(mirror, table))
    assert len(rows) == {ExportTable.INSTANCES: 6}.get(table, 3)
    for row in rows:
        assert list(row) == list(types)
        assert {name for name, value in row.items() if value is not None and type(value) is not types[name]} <= {
            "sop_uid"
        }
    assert types.get("series_date", date) is date


async def test_only_the_series_of_a_selection_have_rows(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
    wanted = Selection(series=(MADE_UP[0].series_uid,))
    assert {row["series_uid"] for row in read_table(mirror, "instances", wanted)} == {MADE_UP[0].series_uid}


def test_an_empty_journal_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / ".bulkdl").mkdir()
    Journal.create_or_open(tmp_path / ".bulkdl" / "journal.sqlite").close()
    assert list(read_table(tmp_path, "series")) == []


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable):
        list(read_table(tmp_path, "series"))
