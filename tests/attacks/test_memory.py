"""Memory that is claimed after a body has arrived is limited, and too little memory is reported as such."""

from __future__ import annotations

import asyncio
import os
import signal
import zlib
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.attacks.hostile import HostileArchive
from tests.attacks.hostile_files import large_codestream
from tests.attacks.watching import Running, Watcher, assert_orderly
from tests.support.commands import SCRIPT
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.processes import tree

DEFLATED = b"1.2.840.10008.1.2.1.99"
INFLATED_BYTES = 96 << 20


def deflated(one: MadeUp, zeros: bytes) -> MadeUp:
    """The instance as a deflated data set whose pixels are zeros; `zeros` is the deflated form of those."""
    content = one.content
    length = int.from_bytes(content[140:144], "little")
    at = content.index(b"1.2.840.10008.1.2.1\0")
    meta = content[144 : at - 2] + len(DEFLATED).to_bytes(2, "little") + DEFLATED + content[at + 20 : 144 + length]
    pixels = content.index(b"\xe0\x7f\x10\x00OW")
    data = content[144 + length : pixels] + b"\xe0\x7f\x10\x00OW\0\0" + INFLATED_BYTES.to_bytes(4, "little")
    rows, columns = 6144, INFLATED_BYTES // 2 // 6144
    for tag, value in ((b"\x28\0\x10\0US\x02\0", rows), (b"\x28\0\x11\0US\x02\0", columns)):
        where = data.index(tag) + len(tag)
        data = data[:where] + value.to_bytes(2, "little") + data[where + 2 :]
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)
    body = content[:140] + len(meta).to_bytes(4, "little") + meta + head + zeros
    return replace(one, content=body + b"\0" * (len(body) % 2))


@cache
def deflated_zeros() -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    return b"".join(compressor.compress(block) for _ in range(INFLATED_BYTES >> 20)) + compressor.flush()


@pytest.mark.parametrize("level", ["header", "structure", "pixels"])
async def test_data_sets_that_inflate_are_held_in_little_memory(level: str, bulkdl: Watcher, tmp_path: Path) -> None:
    pixels = deflated_zeros()
    made_up = [deflated(one, pixels) for one in instances(series=1, per_series=10)]
    async with HostileArchive(made_up) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", "--concurrency", "12", "--validate", level)
        ended = await bulkdl.run(*words, within=25, honest_processes=2 if level == "pixels" else 1)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)


async def test_data_sets_that_inflate_are_adopted_in_little_memory(bulkdl: Watcher, tmp_path: Path) -> None:
    pixels = deflated_zeros()
    honest = instances(series=8, per_series=100)  # so that each of four batches has some that inflate
    made_up = (deflated(one, pixels) if number % 100 == 0 else one for number, one in enumerate(honest))
    written = write_folder(tmp_path / "found", made_up)
    ended = await bulkdl.run("adopt", tmp_path / "found", "--to", tmp_path / "mirror", within=25)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(written)


async def test_frames_that_are_large_when_decoded_are_held_in_little_memory(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = [replace(one, content=large_codestream(one)) for one in instances(series=1, per_series=4, rows=64)]
    sound = list(instances(series=1, per_series=2, seed="sound"))
    async with HostileArchive([*made_up, *sound]) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", "--validate", "pixels", "--concurrency", "8")
        ended = await bulkdl.run(*words, within=25, honest_processes=3)
    assert_orderly(ended, 0, 1)
    assert checksums_on_disk(tmp_path / "mirror").items() >= checksums_of(sound).items()


MADE_UP = list(instances(series=4, per_series=8))
LIMITS = [90_000, 120_000, 134_000, 148_000]


async def test_too_little_memory_is_reported_as_such(bulkdl: Watcher, tmp_path: Path) -> None:
    """Every limit of the table: the command does its work or says in words why not, and the next run is complete."""
    odd = {}
    async with HostileArchive(MADE_UP) as archive:
        for kilobytes in LIMITS:
            mirror = tmp_path / f"mirror-{kilobytes}"
            limited = ("sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh", *SCRIPT)
            ended = await bulkdl.run(*archive.mirror_everything(mirror), command=limited, within=30)
            if "bulkdl:" not in ended.err and ("ImportError" in ended.err or "MemoryError" in ended.err):
                continue  # Python itself, or a library, could not be loaded
            # Seen once: a crash in C code, which Python cannot report. The mirror must be right all the same.
            if ended.stopped or ended.code not in {0, 5, -signal.SIGSEGV} or "internal error" in ended.said():
                odd[kilobytes] = f"{ended.stopped} {ended.code} {ended.said()[-300:]}"
            if (mirror / ".bulkdl" / "journal.sqlite").exists():
                held = journalled_checksums(mirror)
                assert checksums_on_disk(mirror).items() >= held.items()
    assert odd == {}


async def kill_decoders(running: Running) -> None:
    """Kill every child of a command as soon as it is seen, as the kernel does when there is no memory."""
    while running.process.returncode is None:
        for pid in tree(running.process.pid)[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.02)


async def test_decoders_that_the_kernel_kills_condemn_no_file(bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        words = archive.mirror_everything(mirror, "--validate", "pixels")
        async with bulkdl.start(*words) as running:
            killing = asyncio.create_task(kill_decoders(running))
            ended = await running.ended(within=20)
            killing.cancel()
    quarantine = mirror / ".bulkdl" / "quarantine"
    assert [path.name for path in quarantine.rglob("*")] == []
    assert "unsound" not in ended.said()
    assert_orderly(ended, 0, 5)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["plan", "--collection", "X", "--config"], id="configuration"),
        pytest.param(["plan", "--collection", "X", "--username", "me", "--password-file"], id="password"),
        pytest.param(["plan", "--manifest"], id="manifest"),
        pytest.param(["manifest", "show"], id="manifest to show"),
        pytest.param(["serve", ".", "--port", "0", "--users-file"], id="users"),
        pytest.param(["serve", ".", "--port", "0", "--api-key-file"], id="keys"),
    ],
)
async def test_files_without_an_end_are_refused_in_little_memory(words: list[str], bulkdl: Watcher) -> None:
    archive = ("--archive", "nbia+http://127.0.0.1:1/") if words[0] == "plan" else ()
    ended = await bulkdl.run(*words, "/dev/zero", *archive, within=15)
    assert_orderly(ended, 2)
    assert ("this is a binary file" if "manifest" in " ".join(words) else "cannot be read") in ended.err
