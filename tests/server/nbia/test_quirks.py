"""Quirks of the real servers, over real sockets."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from bulkdl.errors import ConfigurationError
from bulkdl.server.catalogue import Root
from bulkdl.server.nbia.quirks import DESCRIPTIONS, Quirk, read_quirks
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.served import served


def test_rejects_an_unknown_quirk_and_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown quirk 'odd'; known quirks: empty-token"):
        read_quirks(["odd"])
    assert read_quirks(["Empty-Token ", "short-zip"]) == {Quirk.EMPTY_TOKEN, Quirk.SHORT_ZIP}
    assert all(DESCRIPTIONS[quirk] for quirk in Quirk)


@pytest.fixture
def made(tmp_path: Path) -> list[MadeUp]:
    return write_folder(tmp_path / "files", instances(series=1, per_series=3))


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("v2/getSeries", None, 200),
        ("v2/getSeries", "old", 200),
        ("v2/getPatient", "old", 200),
        ("v2/getCollectionValues", None, 500),
        ("v2/getCollectionValues", "old", 401),
        ("v2/getImage?SeriesInstanceUID=1", None, 500),
        ("v2/getImage?SeriesInstanceUID=1", "old", 401),
        ("v2/getSingleImage?SeriesInstanceUID=1&SOPInstanceUID=1", "old", 401),
        ("v2/getM5HashForImage?SOPInstanceUid=1", None, 500),
        ("v4/getPatient", "old", 200),
        ("v4/getSeries", "old", 500),
        ("v4/getCollectionValues", "old", 401),
        ("v4/getImage?SeriesInstanceUID=1", "old", 401),
        ("getModalityValuesAndCounts", None, 401),
        ("getModalityValuesAndCounts", "old", 401),
    ],
)
async def test_an_invalid_token_gives_an_empty_answer_where_it_does_on_the_real_server(
    tmp_path: Path, path: str, token: str | None, status: int
) -> None:
    quirks = frozenset({Quirk.EMPTY_TOKEN})
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", quirks=quirks) as archive:
        answer = await archive.nbia(path, token=token)
        assert answer.status == status
        assert answer.body == (b"Server was not able to process your request\nnull" if status == 500 else b"")


async def test_an_instance_without_a_length_cannot_be_resumed(made: list[MadeUp], tmp_path: Path) -> None:
    quirks = frozenset({Quirk.NO_CONTENT_LENGTH})
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", quirks=quirks) as archive:
        query = {"SeriesInstanceUID": made[0].series_uid, "SOPInstanceUID": made[0].sop_uid}
        answer = await archive.nbia("v1/getSingleImage", params=query, headers={"Range": "bytes=1-2"})
        assert (answer.status, answer.body) == (200, made[0].content)
        assert not {"Content-Length", "ETag", "Accept-Ranges", "Last-Modified"} & set(answer.headers)


async def test_json_with_quirks(made: list[MadeUp], tmp_path: Path) -> None:
    quirks = frozenset({Quirk.SIZES_AS_STRINGS, Quirk.SINGLE_OBJECT, Quirk.ESCAPED_SLASHES})
    async with served(Root(tmp_path / "files", "A/B"), catalogue=tmp_path / "catalog.sqlite", quirks=quirks) as archive:
        answer = await archive.nbia("v1/getSeries")
        assert (answer.document["ImageCount"], answer.document["Collection"]) == ("3", "A/B")
        assert rb"A\/B" in answer.body
        assert len((await archive.nbia(f"v1/getSOPInstanceUIDs?SeriesInstanceUID={made[0].series_uid}")).document) == 3
        assert (await archive.nbia("v1/getSeries?Collection=none")).body == b""


async def test_a_short_zip_is_well_formed(made: list[MadeUp], tmp_path: Path) -> None:
    quirks = frozenset({Quirk.SHORT_ZIP})
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", quirks=quirks) as archive:
        answer = await archive.nbia(f"v1/getImageWithMD5Hash?SeriesInstanceUID={made[0].series_uid}")
        with zipfile.ZipFile(BytesIO(answer.body)) as bundle:
            assert bundle.namelist() == ["00000001.dcm", "00000002.dcm"]
            assert bundle.testzip() is None
