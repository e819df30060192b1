from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from bulkdl.archive.base import FoundSeries, Listing
from bulkdl.archive.connect import capabilities, connect
from bulkdl.archive.idc.index import PUBLIC
from bulkdl.archive.profiles import find_profile
from bulkdl.errors import RequestRejected
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, Series
from bulkdl.model.selection import Selection
from tests.support.archives import make_retrier
from tests.support.idc_index import prior_row, series_row, write_index

PROFILE = find_profile("idc+http://127.0.0.1:9")  # nothing answers there
UID = SeriesUid("1.2.3")


async def test_answers_what_needs_no_bucket() -> None:
    async with connect(PROFILE, make_retrier()) as archive:
        assert await archive.list(Series(series_uid=UID)) == Listing()
        assert await archive.checksum(UID, Entry("b/s/i.dcm", md5=b"m" * 16)) == b"m" * 16
        assert await archive.series_checksum(UID) is None
        with pytest.raises(RequestRejected, match="no bundle"):
            archive.open_bundle(UID)
        assert archive.requests == 0


def test_says_what_it_can_do_without_a_request() -> None:
    able = capabilities(PROFILE)
    assert able.ranges
    assert not able.lists_sop_uids
    assert able.bundle is None
    assert not able.takes_key


@pytest.fixture
def index(tmp_path: Path) -> Path:
    rows = [series_row(1), series_row(2, Modality="MR"), series_row(3, SeriesInstanceUID="not a UID")]
    prior = [prior_row(9, 1), prior_row(1, 1)]
    return write_index(tmp_path / "index", rows, prior=prior, dates={25: "2020-01-01"})


async def answers(index: Path | None, cache: Path, selection: Selection) -> tuple[list[FoundSeries], list[str]]:
    """What `find` yields, and the notes."""
    notes: list[str] = []
    profile = replace(PROFILE, index=str(index) if index is not None else None, cache=cache)
    async with connect(profile, make_retrier(), note=notes.append) as archive:
        async with aclosing(archive.find(selection)) as batches:
            found = [batch async for batch in batches]
        assert archive.requests == 0
    return found, notes


async def test_finds_the_series_of_the_index_without_a_request(index: Path, tmp_path: Path) -> None:
    found, notes = await answers(index, tmp_path, Selection(collections=("Lung-One", "nope")))
    assert [series.series_uid for batch in found for series in batch.series] == ["1.2.3.1", "1.2.3.2"]
    assert [str(question) for batch in found for question in batch.not_found] == ["collection nope"]
    assert {batch.release for batch in found} - {None} == {"IDC release 25 (2020-01-01, index 25.0.5)"}
    ((_, error),) = [failure for batch in found for failure in batch.failed]
    assert "1 row of the index" in str(error)
    assert "days old" in notes[0]


async def test_finds_a_withdrawn_series_by_its_uid_alone(index: Path, tmp_path: Path) -> None:
    wanted = Selection.from_keywords({"series": ["1.2.3.1", "1.2.3.9", "1.2.3.77"]})
    found, notes = await answers(index, tmp_path, wanted)
    remarks = {series.series_uid: series.remark for batch in found for series in batch.series}
    assert remarks == {"1.2.3.1": None, "1.2.3.9": "withdrawn since release 2 of IDC"}
    assert [question.series_uid for batch in found for question in batch.not_found] == ["1.2.3.77"]
    assert notes[-1] == "1 series is withdrawn in the current release of IDC: an earlier version of each is used"


async def test_prefers_the_later_of_the_installed_and_the_downloaded_index(tmp_path: Path) -> None:
    wanted = Selection.from_keywords({"series": "1.2.3.1"})
    downloaded = tmp_path / "idc-index" / hashlib.sha256(PUBLIC.encode()).hexdigest()[:16]
    write_index(downloaded, [series_row(1)], version="24.9.9-0-gabc")
    found, _ = await answers(None, tmp_path, wanted)
    assert not any(batch.series for batch in found)
    write_index(downloaded, [series_row(1)], version="999.0.0-0-gabc")
    found, _ = await answers(None, tmp_path, wanted)
    assert [series.series_uid for batch in found for series in batch.series] == ["1.2.3.1"]


async def test_knows_the_data_of_a_doi(index: Path, tmp_path: Path) -> None:
    async with connect(replace(PROFILE, index=str(index), cache=tmp_path), make_retrier()) as archive:
        doi = "10.7937/K9/tcia.2099.ONE"
        assert await archive.collections_of_doi(doi) == (doi,)
        assert await archive.collections_of_doi("10.7937/other") == ()
