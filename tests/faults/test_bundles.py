"""Every way in which the zip of a Series can fail: what it does not bring is fetched singly."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.settings import Transport
from tests.support.bad_archive import ZIP, BadArchive, endpoint_of, zip_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer, cut, drop
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=2, per_series=4))
OF_VICTIM, OTHERS = MADE_UP[:4], MADE_UP[4:]
VICTIM = OF_VICTIM[0].series_uid
OF_ANOTHER_SERIES = next(instances(series=1, per_series=1, seed="other"))
MEMBERS = [(f"{number}.dcm", one.content) for number, one in enumerate(OF_VICTIM)]
WHOLE = zip_of(MEMBERS)


def with_wrong_crc() -> bytes:
    crc = struct.pack("<I", zlib.crc32(MEMBERS[1][1]))
    assert WHOLE.count(crc) == 2
    return WHOLE.replace(crc, b"\x00\x11\x22\x33")


def with_a_link() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        link = zipfile.ZipInfo("0.dcm")
        link.external_attr = 0o120777 << 16
        made.writestr(link, "/etc/passwd")
        for name, content in MEMBERS:
            made.writestr(f"x{name}", content)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("0.dcm", bytes(128) + b"DICM" + bytes(64 << 20))
    return buffer.getvalue()


def flipped() -> bytes:
    """A zip whose own checksums are right, with an instance that differs from its row in md5hashes.csv."""
    changed = MEMBERS[0][1][:-4] + b"\xff\xff\xff\xff"
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in [(MEMBERS[0][0], changed), *MEMBERS[1:]]:
            made.writestr(name, content)
        lines = [f"{name},{hashlib.md5(content).hexdigest()}" for name, content in MEMBERS]  # noqa: S324 - no secret
        made.writestr("md5hashes.csv", "\n".join(lines))
    return buffer.getvalue()


def of_another_series(content: bytes) -> bytes:
    """The same instance, with another Series Instance UID of the same length."""
    tag = b"\x20\x00\x0e\x00UI"
    at = content.index(VICTIM.encode(), content.index(tag))
    end = at + len(VICTIM)
    return content[: end - 1] + (b"1" if content[end - 1 : end] != b"1" else b"2") + content[end:]


def as_zip(content: bytes) -> Callable[[], Action]:
    return lambda: answer(content, headers=ZIP)


# What comes, and how many of the four instances are then asked for singly at most.
ODD: dict[str, tuple[Callable[[], Action], int]] = {
    "an entry is missing": (as_zip(zip_of(MEMBERS[:3])), 1),
    "all entries are missing": (as_zip(zip_of([])), 4),
    "one of another series is among them": (
        as_zip(zip_of([*MEMBERS, ("s.dcm", OF_ANOTHER_SERIES.content)])),
        0,
    ),
    "one says that it is of another series": (
        as_zip(zip_of([("0.dcm", of_another_series(MEMBERS[0][1])), *MEMBERS[1:]], hashes=False)),
        1,
    ),
    "an entry comes twice": (as_zip(zip_of([*MEMBERS, ("again.dcm", MEMBERS[0][1])])), 0),
    "paths lead out of the mirror": (
        as_zip(zip_of([("../../../" + MEMBERS[0][0], MEMBERS[0][1]), ("/etc/x.dcm", MEMBERS[1][1]), *MEMBERS[2:]])),
        0,
    ),
    "a link is among them": (as_zip(with_a_link()), 0),
    "a text is among them": (as_zip(zip_of([("LICENSE", b"Be kind."), *MEMBERS])), 0),
    "an invalid file is among them": (as_zip(zip_of([("0.dcm", MEMBERS[0][1][:-99]), *MEMBERS[1:]], hashes=False)), 1),
    "a file is not what its checksum says": (lambda: answer(flipped(), headers=ZIP), 1),
}

BROKEN: dict[str, tuple[Callable[[], Action], int]] = {
    "cut": (lambda: cut(WHOLE, after=len(WHOLE) // 2, headers=ZIP), 3),
    "cut, with a length to match": (as_zip(WHOLE[: len(WHOLE) // 2]), 3),
    "chunked and cut": (lambda: cut(WHOLE, after=len(WHOLE) // 2, chunked=True, headers=ZIP), 3),
    "without its directory": (as_zip(WHOLE[: WHOLE.index(b"PK\x01\x02")]), 4),
    "with a wrong CRC": (lambda: answer(with_wrong_crc(), headers=ZIP), 4),
    "dropped": (drop, 4),
    "empty": (as_zip(b""), 4),
    "a page": (lambda: answer(b"<html>", headers={"Content-Type": "text/html"}), 4),
    "a page that calls itself a zip": (as_zip(b"<html><body>Welcome</body></html>"), 4),
    "a bomb": (lambda: answer(bomb(), headers=ZIP), 4),
    "500": (lambda: answer(b"", status=500), 4),
    "400": (lambda: answer(b"no", status=400), 4),
    "404": (lambda: answer(b"", status=404), 4),
}


def failing(make: Callable[[], Action], *, times: int) -> Callable[[Seen], Action | None]:
    def fault(seen: Seen) -> Action | None:
        is_it = endpoint_of(seen) == "getImageWithMD5Hash" and seen.query["SeriesInstanceUID"] == VICTIM
        return make() if is_it and seen.ordinal <= times else None

    return fault


@pytest.mark.parametrize("name", [*ODD, *BROKEN])
async def test_what_a_zip_does_not_bring_is_fetched_singly(tmp_path: Path, name: str) -> None:
    make, most_singles = {**ODD, **BROKEN}[name]
    async with BadArchive(MADE_UP, failing(make, times=10**6)) as archive:
        report = await archive.mirror(tmp_path, transport=Transport.ZIP)
        singles = [seen.query["SOPInstanceUID"] for seen in archive.asked("getSingleImage")]
        zips = len(archive.asked("getImageWithMD5Hash"))
    assert report.outcome is RunOutcome.COMPLETE
    assert len(singles) == len(set(singles)) <= most_singles
    assert not {one.sop_uid for one in OTHERS} & set(singles)
    assert zips == 2 if most_singles < len(OF_VICTIM) else zips <= 3  # tried again only if it held nothing
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)
    assert journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)
    assert not list((tmp_path / "mirror" / ".bulkdl" / "partial").iterdir())
    assert not (tmp_path / "0.dcm").exists()


@pytest.mark.parametrize("name", BROKEN)
async def test_a_zip_that_fails_in_passing_costs_no_instance(tmp_path: Path, name: str) -> None:
    async with BadArchive(MADE_UP, failing(BROKEN[name][0], times=1)) as archive:
        report = await archive.mirror(tmp_path, transport=Transport.ZIP)
        assert report.requests == len(archive.server.requests)
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_a_zip_is_given_up_at_once_where_one_attempt_is_all(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, failing(BROKEN["500"][0], times=10**6)) as archive:
        report = await archive.mirror(tmp_path, transport=Transport.ZIP, max_attempts=1)
        assert len(archive.asked("getImageWithMD5Hash")) == 2
    assert report.outcome is RunOutcome.COMPLETE


async def test_what_neither_the_zip_nor_a_request_brings_is_named(tmp_path: Path) -> None:
    victim = OF_VICTIM[1]

    def fault(seen: Seen) -> Action | None:
        if endpoint_of(seen) == "getImageWithMD5Hash" and seen.query["SeriesInstanceUID"] == VICTIM:
            return answer(zip_of([member for member in MEMBERS if member[1] != victim.content]), headers=ZIP)
        return answer(b"", status=500) if seen.query.get("SOPInstanceUID") == victim.sop_uid else None

    async with BadArchive(MADE_UP, fault) as archive:
        report = await archive.mirror(tmp_path, transport=Transport.ZIP, max_attempts=3)
    (failure,) = report.failures
    assert (failure.instance, failure.error, failure.attempts) == (victim.sop_uid, "server-error", 3)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([one for one in MADE_UP if one is not victim])
