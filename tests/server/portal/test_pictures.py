"""Pictures over real sockets: kept on disk, refused with a drawing that says why, and never with a path."""

from __future__ import annotations

import io
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from multidict import MultiDict
from PIL import Image
from pydicom import dcmread

from bulkdl.server.portal.pages import PageMissing
from bulkdl.server.portal.pictures import drawing, parse_options
from tests.support.served import Served


async def test_a_frame_is_sent_and_kept(portal: Served) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    file = portal.catalogue.files(uid)[0]
    found = [
        await portal.ask("/picture", params={"series": uid, "sop": file.sop_uid, "centre": "30000", "width": "60000"})
        for _ in range(2)
    ]
    assert found[0].body == found[1].body
    with Image.open(io.BytesIO(found[0].body)) as shown:
        picture = np.asarray(shown).astype(float)
    samples = dcmread(file.path).pixel_array.astype(float)
    assert np.abs(picture - np.clip((samples - 29999.5) / 59999 + 0.5, 0, 1) * 255).max() <= 1
    metrics = (await portal.ask("/metrics")).body.decode()
    assert 'bulkdl_pictures_total{source="made"} 1' in metrics
    assert 'bulkdl_pictures_total{source="kept"} 1' in metrics


async def test_the_middle_instance_stands_for_a_series(portal: Served) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    middle = portal.catalogue.files(uid)[1].sop_uid
    small, same = [
        await portal.ask("/picture", params={"series": uid, "size": "8", **more}) for more in ({}, {"sop": middle})
    ]
    assert small.body == same.body
    with Image.open(io.BytesIO(small.body)) as shown:
        assert shown.size == (8, 8)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"frame": "2"}, "there are 1 frames only"),
        ({"frame": "0"}, "frame is not a number"),
        ({"size": "1e99"}, "size is not a number"),
        ({"centre": "nan", "width": "1"}, "centre is not a number"),
        ({"centre": "1"}, "a window has a centre and"),
        ({"sop": "1.2.3"}, "there is no such"),
        ({"sop": "<b>"}, "there is no such"),
    ],
)
async def test_what_cannot_be_shown_is_a_drawing_that_says_why(
    portal: Served, query: dict[str, str], reason: str
) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    answer = await portal.ask("/picture", params={"series": uid, **query})
    assert (answer.status, answer.kind) == (200, "image/svg+xml")
    text = answer.body.decode().replace("</tspan>", " ")
    assert all(word in text for word in reason.split())
    assert "<b>" not in text


async def test_no_answer_has_a_path_of_the_machine(portal: Served, tmp_path: Path) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    first, second, third = portal.catalogue.files(uid)
    first.path.write_bytes(b"changed")
    second.path.unlink()
    third.path.chmod(0)
    for file in (first, second, third):
        for page in ("/picture", "/facts", "/instance"):
            answer = await portal.ask(page, params={"series": uid, "sop": file.sop_uid})
            assert str(tmp_path).encode() not in answer.body


async def test_a_catalogue_that_cannot_be_read_is_not_named_in_place_of_a_picture(portal: Served) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    with closing(sqlite3.connect(portal.catalogue.path)) as database:
        database.execute("ALTER TABLE series RENAME TO elsewhere")
    for page in ("/picture", "/facts", "/mask", "/contours"):
        answer = await portal.ask(page, params={"series": uid})
        words = re.sub(r"<[^>]+>", " ", answer.body.decode()).split()
        assert "the server cannot read it now" in " ".join(words), page
        assert str(portal.catalogue.path).encode() not in answer.body


async def test_a_picture_is_sent_where_none_can_be_kept(portal: Served) -> None:
    portal.catalogue.path.with_suffix(".pictures").write_text("not a folder")
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    answer = await portal.ask("/picture", params={"series": uid})
    assert (answer.status, answer.kind) == (200, "image/png")


def test_reasons_are_text() -> None:
    assert b"<script" not in drawing("</text><script>alert(1)</script>")


def test_options_are_numbers_in_their_ranges() -> None:
    assert parse_options(MultiDict()).frame is None
    assert parse_options(MultiDict({"frame": "3"})).frame == 2
    with pytest.raises(PageMissing):
        parse_options(MultiDict({"width": "inf", "centre": "0"}))
