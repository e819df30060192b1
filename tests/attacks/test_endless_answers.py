"""Answers without an end, or that expand without an end: each is one failure, in bounded memory and disk space."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.attacks.hostile import DICOM, JSON, HostileArchive, asks_for, endless, endpoint_of, given
from tests.attacks.watching import Watcher, assert_orderly, bytes_below
from tests.support.dicom_files import instances
from tests.support.faults import Action, Exchange, Seen, answer
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=2, per_series=4))
VICTIM = MADE_UP[1]
OTHERS = [one for one in MADE_UP if one is not VICTIM]
TEXT = {"Content-Type": "text/plain"}
GZIP = {"Content-Encoding": "gzip"}
BOMB_BYTES = 1 << 30
MOST_DISK_BYTES = 150_000_000


def bomb(size: int, *, first: bytes = b"", filler: bytes = b" ") -> bytes:
    """Gzip of `first` and then so many bytes of the filler, made of one block that is repeated."""
    block = filler * ((1 << 20) // len(filler))
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = compressor.compress(first) + compressor.flush(zlib.Z_FULL_FLUSH)
    body = compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + head + body * (size >> 20)  # the trailer is of no use


def uids(start: int = 1) -> bytes:
    """Rows of new SOP Instance UIDs; repeated, they are the same ones again."""
    return b"".join(b'{"SOPInstanceUID":"1.2.826.0.1.%d"},' % number for number in range(start, start + 1000))


def new_uids() -> Action:
    """A list of SOP Instance UIDs that never ends, and never repeats one."""
    numbers = iter(range(1, 1 << 40, 1000))

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Transfer-Encoding": "chunked", **JSON})
        await exchange.send_chunk(b"[")
        while True:
            await exchange.send_chunk(uids(next(numbers)))

    return act


def zipped(content: bytes, headers: Mapping[str, str]) -> Action:
    return answer(content, headers={**GZIP, **headers})


LISTS_WITHOUT_END: dict[str, Callable[[], Action]] = {
    "new UIDs": new_uids,
    "the same UIDs": lambda: endless(uids(), first=b"[", headers=JSON),
    "blanks": lambda: endless(b" " * 65536, headers=JSON),
    "blanks in the list": lambda: endless(b" " * 65536, first=b"[", headers=JSON),
    "nulls": lambda: endless(b"null," * 10_000, first=b"[", headers=JSON),
    "one text": lambda: endless(b"x" * 65536, first=b'[{"SOPInstanceUID":"', headers=JSON),
    "nested": lambda: endless(b"[" * 65536, first=b'[{"SOPInstanceUID":', headers=JSON),
    "gzip of blanks": lambda: zipped(bomb(BOMB_BYTES), JSON),
    "gzip of UIDs": lambda: zipped(bomb(BOMB_BYTES, first=b"[", filler=b'{"SOPInstanceUID":"1.2"},'), JSON),
}
ENDS_TODAY = {"one text", "nested"}


@pytest.mark.parametrize("name", LISTS_WITHOUT_END)
async def test_a_list_of_instances_without_an_end_is_the_failure_of_its_series(
    name: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    async with HostileArchive(MADE_UP) as archive:
        hostile = LISTS_WITHOUT_END[name]()
        archive.attack = lambda seen: hostile if asks_for(seen, "getSOPInstanceUIDs", VICTIM.series_uid) else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=12)
    assert_orderly(ended, 1)
    assert {series for series, _, _ in ended.failures()} == {VICTIM.series_uid}
    assert checksums_on_disk(tmp_path / "mirror").items() >= checksums_of(MADE_UP[4:]).items()


SHORT_ANSWERS = {
    "chunks": lambda: endless(b"a" * 65536, headers=TEXT),
    "chunks of JSON": lambda: endless(b"a" * 65536, first=b'{"access_token":"', headers=JSON),
    "a length of a terabyte": lambda: endless(
        b"a" * 65536, headers={"Transfer-Encoding": "identity", "Content-Length": str(1 << 40), **TEXT}
    ),
    "gzip": lambda: zipped(bomb(BOMB_BYTES, first=b'{"access_token":"', filler=b"a"), JSON),
}


@pytest.mark.parametrize("name", ["chunks", "chunks of JSON", "gzip"])
async def test_a_token_without_an_end_is_a_login_that_failed(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        hostile = SHORT_ANSWERS[name]()
        archive.attack = lambda seen: hostile if endpoint_of(seen) == "token" else None
        words = archive.mirror_everything(
            tmp_path / "mirror", "--username", "user", "--give-up-after", "5s", kind="nbia"
        )
        ended = await bulkdl.run(*words, within=12, more={"BULKDL_PASSWORD": "a-password"})
    assert_orderly(ended, 3, 4)


@pytest.mark.parametrize("name", ["chunks", "gzip"])
async def test_a_checksum_without_an_end_fails_one_instance(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    damaged = VICTIM.content[:132] + bytes(len(VICTIM.content) - 132)
    async with HostileArchive(MADE_UP) as archive:
        hostile = SHORT_ANSWERS[name]()

        def attack(seen: Seen) -> Action | None:
            if asks_for(seen, "getSingleImage", VICTIM.sop_uid):
                return answer(damaged, headers=DICOM)
            return hostile if asks_for(seen, "getM5HashForImage", VICTIM.sop_uid) else None

        archive.attack = attack
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=12)
    assert_orderly(ended, 1)
    assert [instance for _, instance, _ in ended.failures()] == [VICTIM.sop_uid]
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(OTHERS)


QUESTIONS = {
    "query of rows": ("query", "getSeries", "Collection=MADE-UP"),
    "query as a table": ("query", "getSeries", "Collection=MADE-UP", "--format", "table"),
    "query of values": ("query", "getCollectionValues"),
    "query of a text": ("query", "getM5HashForImage", "SOPInstanceUid=1.2.3"),
    "query of CSV": ("query", "getSeries", "Collection=MADE-UP", "--format", "csv"),
    "plan": ("plan", "--collection", "MADE-UP"),
    "a size": ("query", "getSeriesSize", "SeriesInstanceUID=1.2.3"),
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_question_whose_answer_has_no_end_takes_no_memory(name: str, bulkdl: Watcher) -> None:
    row = b'{"SeriesInstanceUID":"1.2.3","Collection":"MADE-UP"},' * 1000
    hostile = (
        zipped(bomb(BOMB_BYTES, first=b"[", filler=b" "), JSON) if name != "plan" else answer(b"[" + row[:-1] + b"]")
    )
    async with HostileArchive(MADE_UP, lambda _: hostile) as archive:
        ended = await bulkdl.run(*QUESTIONS[name], "--archive", archive.address(), within=12)
    assert_orderly(ended)
    if name != "plan":
        assert ended.code in {1, 4}


async def test_errors_and_redirects_whose_bodies_have_no_end_are_not_read_to_it(
    bulkdl: Watcher, tmp_path: Path
) -> None:
    made_up = list(instances(series=1, per_series=8))
    statuses = given((one.sop_uid for one in made_up), (400, 404, 410, 418, 301, 302))

    def attack(seen: Seen) -> Action | None:
        status = statuses.get(seen.query.get("SOPInstanceUID", ""))
        where = {"Location": "http://127.0.0.1:1/"} if status == 418 else {"Location": "getCollectionValues"}
        return endless(b"x" * 65536, status=status, headers={**TEXT, **where}) if status else None

    async with HostileArchive(made_up, attack) as archive:
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=12)
    assert_orderly(ended, 1)
    assert {instance for _, instance, _ in ended.failures()} == set(statuses)


OBJECTS_WITHOUT_END = {
    "chunks": lambda: endless(VICTIM.content * 30, first=VICTIM.content, headers=DICOM, most=400_000_000),
    "zeros": lambda: endless(bytes(65536), first=VICTIM.content, headers=DICOM, most=400_000_000),
    "gzip": lambda: zipped(bomb(400_000_000, first=VICTIM.content, filler=b"\0"), DICOM),
}


@pytest.mark.parametrize("name", OBJECTS_WITHOUT_END)
async def test_an_object_without_an_end_fails_alone_and_does_not_fill_the_disk(
    name: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    async with HostileArchive(MADE_UP) as archive:
        hostile = OBJECTS_WITHOUT_END[name]()
        archive.attack = lambda seen: hostile if asks_for(seen, "getSingleImage", VICTIM.sop_uid) else None
        mirror = tmp_path / "mirror"
        ended = await bulkdl.run(
            *archive.mirror_everything(mirror), within=15, looks=[lambda: bytes_below(mirror) > MOST_DISK_BYTES]
        )
    assert_orderly(ended, 1)
    assert [instance for _, instance, _ in ended.failures()] == [VICTIM.sop_uid]
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(OTHERS)


async def test_an_object_without_an_end_is_bounded_where_the_archive_tells_no_sizes(
    bulkdl: Watcher, small_disk: Path
) -> None:
    async with HostileArchive(MADE_UP) as archive:
        archive.row_changes = {uid: {"FileSize": None} for uid in archive.series_uids()}
        hostile = endless(bytes(65536), first=VICTIM.content, headers=DICOM)
        archive.attack = lambda seen: hostile if asks_for(seen, "getSingleImage", VICTIM.sop_uid) else None
        ended = await bulkdl.run(*archive.mirror_everything(small_disk / "mirror"), within=12)
    assert_orderly(ended, 1)
    assert [instance for _, instance, _ in ended.failures()] == [VICTIM.sop_uid]
    assert checksums_on_disk(small_disk / "mirror") == checksums_of(OTHERS)


async def test_a_zip_without_an_end_costs_no_disk_and_its_instances_come_singly(
    bulkdl: Watcher, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        head = b"PK\x03\x04\x14\x00\x08\x00\x08\x00" + bytes(16) + b"\x05\x00\x00\x00a.dcm"
        deflated = gzip.compress(bytes(1 << 20))[10:-8]
        hostile = endless(deflated[:-10] * 2, first=head, headers={"Content-Type": "application/zip"}, most=400_000_000)
        archive.attack = lambda seen: hostile if asks_for(seen, "getImageWithMD5Hash", VICTIM.series_uid) else None
        words = archive.mirror_everything(mirror, "--transport", "zip")
        ended = await bulkdl.run(*words, within=12, looks=[lambda: bytes_below(mirror) > MOST_DISK_BYTES])
    assert_orderly(ended, 0)
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)


async def test_headers_without_an_end_fail_one_request(bulkdl: Watcher, tmp_path: Path) -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await exchange.send(b"X-Again: yes\r\n" * 1000)

    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: act if asks_for(seen, "getSingleImage", VICTIM.sop_uid) else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=12)
    assert_orderly(ended, 1)
    assert json.loads(ended.out)["instances"]["fetched"] == len(OTHERS)
