"""Bytes of two answers never make one file: an object that changes while it is resumed is one object or the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.attacks.hostile import DICOM, HostileArchive, asks_for
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, answer, cut
from tests.support.mirrors import checksums_on_disk, journalled_checksums

BEFORE = next(instances(series=1, per_series=1, rows=1700))  # 5.8 MB: large enough to be resumed
HEAD = BEFORE.content[:2000]
AFTER = (
    HEAD + bytes(255 - byte for byte in BEFORE.content[2000:6000]) + b"\x01\x02" * ((len(BEFORE.content) - 6000) // 2)
)
assert len(AFTER) == len(BEFORE.content)
CUT = 5 << 20
OBJECTS = {hashlib.sha256(BEFORE.content).hexdigest(): "before", hashlib.sha256(AFTER).hexdigest(): "after"}

SIZES = {"last": len(AFTER) - 1, "middle": len(AFTER) - 9, "size": len(AFTER), "longer": len(AFTER) + 5}

Headers = Callable[[], Mapping[str, str]]


def moment(*, seconds: float) -> str:
    """A date of HTTP, so many seconds ago."""
    return format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)


def part(content: bytes, start: int, headers: Mapping[str, str], content_range: str | None = None) -> Action:
    """The rest of an object."""
    told = content_range or f"bytes {start}-{len(content) - 1}/{len(content)}"
    return answer(content[start:], status=206, headers={**DICOM, "Content-Range": told, **headers})


def etag(value: str) -> Headers:
    return lambda: {"ETag": value}


def dates(*, modified: float, answered: float) -> Headers:
    return lambda: {"Last-Modified": moment(seconds=modified), "Date": moment(seconds=answered)}


KEPT: dict[str, tuple[Headers, Headers]] = {  # validators of the first answer, and of the 206
    "a 206 without its validator": (etag('"v1"'), dict),
    "a 206 without its date": (dates(modified=500, answered=0), dict),
    "a 206 with another tag": (etag('"v1"'), etag('"v2"')),
    "a 206 with a weak tag": (etag('"v1"'), etag('W/"v1"')),
    "a weak tag from the start": (etag('W/"v1"'), etag('W/"v1"')),
    "a date as young as the answer": (dates(modified=0, answered=0), dates(modified=0, answered=0)),
    "a date of the same second": (
        lambda: {"Last-Modified": moment(seconds=0)},
        lambda: {"Last-Modified": moment(seconds=0)},
    ),
    "the same tag for another object": (etag('"v1"'), etag('"v1"')),
    "no validators at all": (dict, dict),
}


def changing(headers: Headers, rest: Headers, *, content_range: str | None = None) -> Callable[[Seen], Action | None]:
    """Half of the object of before, and from then on the object of after: the rest of it where that is asked for."""
    first, later = headers(), rest()  # dates stay the same

    def attack(seen: Seen) -> Action | None:
        if asks_for(seen, "getM5HashForImage"):
            return answer(hashlib.md5(AFTER, usedforsecurity=False).hexdigest().encode())
        if not asks_for(seen, "getSingleImage"):
            return None
        if seen.ordinal == 1:
            return cut(BEFORE.content, after=CUT, headers={**DICOM, **first})
        if (asked := seen.headers.get("range")) is not None:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            told = None if content_range is None else content_range.format(start=start, **SIZES)
            return part(AFTER, start, later, told)
        return answer(AFTER, headers={**DICOM, **later})

    return attack


@pytest.mark.parametrize(
    ("first", "rest"),
    [pytest.param(one, two, id=name) for name, (one, two) in KEPT.items()],
)
async def test_an_object_that_changes_while_it_is_resumed_is_never_a_mixture(
    first: Headers, rest: Headers, bulkdl: Watcher, tmp_path: Path
) -> None:
    async with HostileArchive([BEFORE], changing(first, rest)) as archive:
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--max-attempts", "4"), within=20)
    assert_orderly(ended, 0)
    held = checksums_on_disk(tmp_path / "mirror")
    assert [OBJECTS.get(checksum, "a mixture") for checksum in held.values()] == ["after"]
    assert journalled_checksums(tmp_path / "mirror") == held


LIES = {
    "another start": "bytes 0-{last}/{size}",
    "another end": "bytes {start}-{middle}/{size}",
    "a longer whole": "bytes {start}-{last}/{longer}",
    "an unknown whole": "bytes {start}-{last}/*",
    "another unit": "items {start}-{last}/{size}",
    "several parts": "bytes {start}-{last}/{size}, 0-1/2",
    "nothing": " ",
}


@pytest.mark.parametrize("name", LIES)
async def test_a_part_that_says_it_is_another_part_is_not_taken(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    attack = changing(etag('"v1"'), etag('"v1"'), content_range=LIES[name])
    async with HostileArchive([BEFORE], attack) as archive:
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--max-attempts", "4"), within=20)
    assert_orderly(ended, 0)
    assert [OBJECTS.get(one, "a mixture") for one in checksums_on_disk(tmp_path / "mirror").values()] == ["after"]


async def test_an_object_that_changes_between_two_runs_is_never_a_mixture(bulkdl: Watcher, tmp_path: Path) -> None:
    headers = dates(modified=0, answered=0)()
    attack = changing(lambda: headers, lambda: headers)
    async with HostileArchive([BEFORE], attack) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", "--max-attempts", "1")
        ended = await bulkdl.run(*words, within=15)
        assert_orderly(ended, 1)
        ended = await bulkdl.run(*words, within=15)
    assert_orderly(ended, 0)
    assert [OBJECTS.get(one, "a mixture") for one in checksums_on_disk(tmp_path / "mirror").values()] == ["after"]


async def test_an_object_that_did_not_change_is_resumed(bulkdl: Watcher, tmp_path: Path) -> None:
    """The honest case: what is guarded against must not cost those who do well."""
    other: MadeUp = BEFORE

    def attack(seen: Seen) -> Action | None:
        if not asks_for(seen, "getSingleImage"):
            return None
        headers = {**DICOM, "ETag": '"v1"'}
        if seen.ordinal == 1:
            return cut(other.content, after=CUT, headers=headers)
        start = int(seen.headers["range"].removeprefix("bytes=").partition("-")[0])
        assert start > 0
        return part(other.content, start, headers)

    async with HostileArchive([BEFORE], attack) as archive:
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=20)
    assert_orderly(ended, 0)
    assert [OBJECTS.get(one, "a mixture") for one in checksums_on_disk(tmp_path / "mirror").values()] == ["before"]
