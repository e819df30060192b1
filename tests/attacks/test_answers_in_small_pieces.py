"""An answer in small pieces costs no more than the same answer in large ones, and Ctrl-C ends it at once."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attacks.hostile import DICOM, JSON, HostileArchive, asks_for, endpoint_of, in_pieces
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.faults import Action, Exchange, Seen
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=2, per_series=4))
SERIES = MADE_UP[0].series_uid


def long_row(archive: HostileArchive, length: int) -> bytes:
    """The rows of getSeries, the first of which has a description of this length."""
    rows = archive.rows()
    rows[0]["SeriesDescription"] = "d" * length
    return json.dumps(rows).encode()


@pytest.mark.parametrize(
    ("piece_bytes", "length"),
    [
        pytest.param(1, 200_000, id="200 kB in bytes"),
        pytest.param(8, 1_000_000, id="1 MB in eights"),
        pytest.param(100, 3_000_000, id="3 MB in hundreds"),
    ],
)
async def test_a_long_row_in_small_pieces_is_read_in_seconds(
    piece_bytes: int, length: int, bulkdl: Watcher, tmp_path: Path
) -> None:
    async with HostileArchive(MADE_UP) as archive:
        hostile = in_pieces(long_row(archive, length), piece_bytes, headers=JSON)
        archive.attack = lambda seen: hostile if asks_for(seen, "getSeries") else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=10)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


def lists(archive: HostileArchive, piece_bytes: int) -> dict[str, Action]:
    """Honest answers of the archive, each in pieces of this size."""
    of_series = [{"SOPInstanceUID": one.sop_uid} for one in MADE_UP if one.series_uid == SERIES]
    spread = json.dumps(of_series).replace(" ", " " * 20_000).encode()
    return {
        "getSOPInstanceUIDs": in_pieces(spread, piece_bytes, headers=JSON),
        "getSeries": in_pieces(json.dumps(archive.rows(), indent=400).encode(), piece_bytes, headers=JSON),
    }


@pytest.mark.parametrize(
    "endpoint",
    ["getSOPInstanceUIDs", "getSeries"],
)
async def test_a_list_with_many_blanks_in_small_pieces_is_read_in_seconds(
    endpoint: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    async with HostileArchive([one for one in MADE_UP if one.series_uid == SERIES]) as archive:
        hostile = lists(archive, 1)[endpoint]
        archive.attack = lambda seen: hostile if asks_for(seen, endpoint) else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=10)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(archive.made_up)


@pytest.mark.parametrize("piece_bytes", [1, 7])
async def test_an_object_in_small_pieces_is_whole(piece_bytes: int, bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=2, rows=300))  # 180 kB
    async with HostileArchive(made_up) as archive:
        hostile = in_pieces(made_up[0].content, piece_bytes, headers=DICOM)
        archive.attack = lambda seen: hostile if asks_for(seen, "getSingleImage", made_up[0].sop_uid) else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=10)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)


ENDLESS = {
    "a row": lambda: endless_pieces(b'[{"SeriesInstanceUID":"1.2.3","SeriesDescription":"', b"d" * 8),
    "blanks": lambda: endless_pieces(b"[", b" "),
    "an object": lambda: endless_pieces(MADE_UP[0].content, b"\0" * 8),
}


def endless_pieces(first: bytes, piece: bytes) -> Action:
    """Chunks of one small piece each, for ever, as fast as they are taken."""

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Transfer-Encoding": "chunked", **(DICOM if first[:1] != b"[" else JSON)})
        await exchange.send_chunk(first)
        wire = (b"%x\r\n%b\r\n" % (len(piece), piece)) * 8192
        while True:
            await exchange.send(wire)

    return act


@pytest.mark.parametrize("name", ["a row", "blanks", "an object"])
async def test_ctrl_c_is_heard_while_small_pieces_come(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    reached = asyncio.Event()
    hostile = ENDLESS[name]()

    def attack(seen: Seen) -> Action | None:
        if endpoint_of(seen) != ("getSingleImage" if name == "an object" else "getSeries"):
            return None
        reached.set()
        return hostile

    async with (
        HostileArchive(MADE_UP, attack) as archive,
        bulkdl.start(*archive.mirror_everything(tmp_path / "mirror")) as running,
    ):
        await reached.wait()
        with suppress(TimeoutError):  # let it take in many pieces: what comes later is what costs more
            async with asyncio.timeout(1.5):
                await running.process.wait()
        is_at_work = running.process.returncode is None  # else it has found by itself that this does not end
        if is_at_work:
            running.interrupt()
        ended = await running.ended(within=bulkdl.soon())
    assert_orderly(ended, *((130, 4) if is_at_work else (1, 4)))  # it may find it just then


async def test_a_gzip_in_small_pieces_is_read_in_seconds(bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        body = gzip.compress(json.dumps(archive.rows(), indent=2000).encode(), compresslevel=1)
        hostile = in_pieces(body, 1, headers={**JSON, "Content-Encoding": "gzip"})
        archive.attack = lambda seen: hostile if asks_for(seen, "getSeries") else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=10)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)
