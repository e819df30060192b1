"""Headers that hold what no server should send: each is read, refused in words, or passed over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.attacks.hostile import DICOM, JSON, HostileArchive, asks_for, given
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer, cut, raw
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

LARGE = next(instances(series=1, per_series=1, rows=1700, seed="large"))
SMALL = list(instances(series=1, per_series=24, seed="small"))
NINES = "9" * 5000

RANGES = {
    "a long start": f"bytes {NINES}-10/20",
    "a long end": f"bytes 0-{NINES}/20",
    "a long whole": f"bytes 0-10/{NINES}",
    "all of 2,500 digits": f"bytes {NINES[:2500]}-{NINES[:2500]}/{NINES[:2500]}",
    "negative": "bytes -5--1/-20",
    "digits of another script": "bytes \u0661-\u0662/\u0663".encode().decode("latin-1"),
    "a fraction": "bytes 0.5-1e9/1e999",
    "hexadecimal": "bytes 0x10-0x20/0x30",
}


@pytest.mark.parametrize("name", RANGES)
async def test_an_odd_content_range_costs_one_attempt(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    def attack(seen: Seen) -> Action | None:
        if not asks_for(seen, "getSingleImage"):
            return None
        if seen.ordinal == 1:
            return cut(LARGE.content, after=5 << 20, headers={**DICOM, "ETag": '"v1"'})
        if "range" in seen.headers:
            headers = {**DICOM, "ETag": '"v1"', "Content-Range": RANGES[name]}
            return answer(b"rest", status=206, headers=headers)
        return answer(LARGE.content, headers=DICOM)

    async with HostileArchive([LARGE], attack) as archive:
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--max-attempts", "4"), within=15)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([LARGE])


# Headers beside a good body, one instance each.
ODD: list[Mapping[str, str]] = [
    {"Content-Type": "x" * 5000},
    {"Content-Type": "application/dicom; charset=" + "é" * 50},
    {"Content-Type": ";;;"},
    {"Content-Type": 'application/dicom; q="' + "a" * 100},
    {"ETag": '"' + "e" * 7000},
    {"ETag": '"\x01\x7f"'},
    {"ETag": "\xff\xfe"},
    {"Last-Modified": "Thu, 99 Foo 99999 99:99:99 GMT"},
    {"Last-Modified": NINES},
    {"Date": NINES},
    {"Date": "yesterday"},
    {"Content-Disposition": "attachment; filename=../../../../etc/passwd"},
    {"Content-Encoding": "IDENTITY"},
    {"Accept-Ranges": "bytes, bytes, none"},
    {"Set-Cookie": "a=" + "b" * 5000 + "; Expires=" + NINES[:500]},
    {"Retry-After": NINES},
    {"Content-MD5": "not base64 \xff"},
    {"Content-Range": f"bytes 0-{NINES}/{NINES[:2000]}"},
    {"X-Odd": "\x0b\x0c"},
    {"Connection": "close, keep-alive, upgrade"},
    {"Age": "-1"},
    {"Location": "http://[::1"},
    {"WWW-Authenticate": 'Basic realm="' + "r" * 7000},
]


async def test_odd_headers_beside_a_good_body_do_no_harm(bulkdl: Watcher, tmp_path: Path) -> None:
    odd = given((one.sop_uid for one in SMALL), ODD)
    async with HostileArchive(SMALL) as archive:

        def attack(seen: Seen) -> Action | None:
            headers = odd.get(seen.query.get("SOPInstanceUID", "")) if asks_for(seen, "getSingleImage") else None
            if headers is None:
                return None
            content = next(one.content for one in SMALL if one.sop_uid == seen.query["SOPInstanceUID"])
            return answer(content, headers={**DICOM, **headers})

        archive.attack = attack
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=20)
    assert_orderly(ended, 0, 1)
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror")
    failed = {instance for _, instance, _ in ended.failures()}
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of([one for one in SMALL if one.sop_uid not in failed])
    assert len(failed) <= 6  # what no client of HTTP has to understand


# Whole answers whose frame is odd, each for one instance: all fail or are whole, none is an error of ours.
FRAMES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: " + NINES.encode() + b"\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + NINES.encode() + b"\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 \xff\xfe\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 200,
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 200 " + b"r" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nNo colon here\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 3\r\n\r\nabc",
    b"\0" * 100_000,
]


async def test_answers_that_are_framed_oddly_fail_alone(bulkdl: Watcher, tmp_path: Path) -> None:
    framed = given((one.sop_uid for one in SMALL), FRAMES)
    async with HostileArchive(SMALL) as archive:

        def attack(seen: Seen) -> Action | None:
            content = framed.get(seen.query.get("SOPInstanceUID", "")) if asks_for(seen, "getSingleImage") else None
            return None if content is None else raw(content)

        archive.attack = attack
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--concurrency", "4"), within=20)
    assert_orderly(ended, 1)
    assert {instance for _, instance, _ in ended.failures()} == set(framed)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(SMALL[len(FRAMES) :])


WAITS = ["1e999", "nan", "inf", "-1", "0x10", "0", " ", "Thu, 01 Jan 1970 00:00:00 GMT", "soon", "\xb2", "1_000"]


@pytest.mark.parametrize("endpoint", ["getSingleImage", "getSOPInstanceUIDs"])
async def test_an_odd_retry_after_is_passed_over(endpoint: str, bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=len(WAITS), per_series=2))
    waits = given(dict.fromkeys(one.series_uid for one in made_up), WAITS)
    async with HostileArchive(made_up) as archive:

        def attack(seen: Seen) -> Action | None:
            if not asks_for(seen, endpoint) or seen.ordinal > 1:
                return None
            headers = {**JSON, "Retry-After": waits[seen.query["SeriesInstanceUID"]]}
            return answer(b"", status=503, headers=headers)

        archive.attack = attack
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--max-attempts", "5"), within=25)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)
