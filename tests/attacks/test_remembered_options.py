"""`resume` uses the options of the last `mirror` run; an empty selection is not kept; private files stay private."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.attacks.hostile import DICOM, HostileArchive, asks_for, endpoint_of
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.commands import serve
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import Action, Seen, answer
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=2, per_series=4))
RESUME = ("--json", "--progress", "none", "--max-attempts", "2")


def fails(*sop_uids: str) -> Callable[[Seen], Action | None]:
    return lambda seen: answer(b"", status=500) if seen.query.get("SOPInstanceUID") in sop_uids else None


@pytest.mark.parametrize("first", [("--collection", "MADE-DOWN"), ("--series", "1.2.3.4"), ("--patient", "NOBODY")])
async def test_a_first_run_that_finds_nothing_never_ends_a_resume(
    first: tuple[str, str], bulkdl: Watcher, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        empty = ("mirror", "--archive", archive.address(), *first, "--to", mirror, "--progress", "none")
        ended = await bulkdl.run(*empty)
        assert ended.code in {1, 2}
        assert_orderly(await bulkdl.run(*archive.mirror_everything(mirror)), 0)
        ended = await bulkdl.run("resume", mirror, *RESUME)
        assert_orderly(ended, 0)
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)


async def broken_off(bulkdl: Watcher, archive: HostileArchive, mirror: Path, *more: str) -> None:
    """A run with these options that misses the instances of the first Series; the archive is well again after it."""
    archive.attack = fails(*(one.sop_uid for one in archive.made_up[:4]))
    ended = await bulkdl.run(*archive.mirror_everything(mirror, *more))
    assert_orderly(ended, 1)
    archive.attack = lambda _: None


async def test_resume_goes_on_by_the_same_transport(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=30))
    async with HostileArchive(made_up) as archive:
        hostile = {"getSingleImage", "getImageWithMD5Hash"}
        archive.attack = lambda seen: answer(b"", status=400) if endpoint_of(seen) in hostile else None
        assert_orderly(await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--transport", "single")), 1)
        archive.attack = lambda _: None
        zips = len(archive.asked("getImageWithMD5Hash"))
        assert_orderly(await bulkdl.run("resume", tmp_path / "mirror", *RESUME), 0)
        assert len(archive.asked("getImageWithMD5Hash")) == zips


KEPT = ("rate_limit_bytes", "transport", "validation", "accept_unsound", "private")


def settings_of_runs(mirror: Path) -> list[dict[str, object]]:
    """The options of each run, as the journal has them."""
    with sqlite3.connect(f"file:{mirror / '.bulkdl' / 'journal.sqlite'}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT settings FROM run ORDER BY id").fetchall()
    database.close()
    return [{name: json.loads(text)[name] for name in KEPT} for (text,) in rows]


@pytest.mark.parametrize("verb", [("resume",), ("verify", "--repair")], ids=["resume", "verify --repair"])
async def test_the_options_of_the_run_are_kept_and_said(verb: tuple[str, ...], bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        options = ("--rate-limit", "500kB/s", "--private", "--accept-unsound", "--validate", "header")
        if verb == ("resume",):
            await broken_off(bulkdl, archive, mirror, *options)
        else:  # repairs concern what is held
            assert_orderly(await bulkdl.run(*archive.mirror_everything(mirror, *options)), 0)
            next(mirror.rglob("*.dcm")).write_bytes(b"damaged")
        done = await bulkdl.run(verb[0], mirror, *verb[1:], "--json", "--progress", "plain")
        assert_orderly(done, 0)
    first, *later = settings_of_runs(mirror)
    assert later
    assert later[-1] == first
    assert re.search(r"500(\.0)? ?kB/s", done.err)
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)


async def test_an_option_that_is_given_to_resume_overrules_the_one_that_was_kept(
    bulkdl: Watcher, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        await broken_off(bulkdl, archive, mirror, "--rate-limit", "500kB/s", "--validate", "header")
        assert_orderly(await bulkdl.run("resume", mirror, *RESUME, "--rate-limit", "9MB/s"), 0)
    last = settings_of_runs(mirror)[-1]
    assert (last["rate_limit_bytes"], last["validation"]) == (9_000_000, "header")


def bad_pixels(one: MadeUp) -> bytes:
    """The instance in JPEG Baseline whose one frame begins as JPEG and is rubbish: `structure` does not see it."""
    native, jpeg = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.50"
    content = one.content
    at = content.index(native) - 8
    head = content[:at] + b"\x02\x00\x10\x00UI" + (22).to_bytes(2, "little") + jpeg + content[at + 8 + 20 :]
    length = int.from_bytes(head[140:144], "little") + 2
    head = head[:140] + length.to_bytes(4, "little") + head[144:]
    pixels = head.index(b"\xe0\x7f\x10\x00")
    frame = b"\xff\xd8\xff\xdb" + b"\x55" * 200 + b"\xff\xd9"
    item = b"\xfe\xff\x00\xe0"
    fragments = item + bytes(4) + item + len(frame).to_bytes(4, "little") + frame + b"\xfe\xff\xdd\xe0" + bytes(4)
    return head[:pixels] + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + fragments


async def test_the_level_of_validation_is_kept(bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    bad = bad_pixels(MADE_UP[0])
    async with HostileArchive(MADE_UP) as archive:
        await broken_off(bulkdl, archive, mirror, "--validate", "pixels")
        archive.attack = lambda seen: (
            answer(bad, headers=DICOM) if asks_for(seen, "getSingleImage", MADE_UP[0].sop_uid) else None
        )
        ended = await bulkdl.run("resume", mirror, *RESUME, within=30, honest_processes=3)
    assert_orderly(ended, 1)
    assert [instance for _, instance, _ in ended.failures()] == [MADE_UP[0].sop_uid]


def open_to_others(*roots: Path) -> list[str]:
    """What others than its owner may read, enter or write."""
    every = [path for root in roots for path in [root, *root.rglob("*")] if not path.is_symlink()]
    modes = {str(path): path.stat().st_mode for path in every}
    return [f"{path} {stat.filemode(mode)}" for path, mode in modes.items() if mode & (stat.S_IRWXG | stat.S_IRWXO)]


async def test_a_private_mirror_is_private_throughout(bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(mirror, "--private")), 0)
    assert open_to_others(mirror) == []


async def test_a_folder_that_was_there_is_private_after_a_private_run(bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir(mode=0o755)
    async with HostileArchive(MADE_UP) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(mirror, "--private")), 0)
    assert open_to_others(mirror) == []


@pytest.mark.parametrize("verb", ["mirror", "resume", "verify"])
async def test_a_later_run_keeps_a_private_mirror_private(verb: str, bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    damaged = MADE_UP[0].content[:132] + bytes(400)
    async with HostileArchive(MADE_UP) as archive:
        await broken_off(bulkdl, archive, mirror, "--private")
        archive.attack = lambda seen: (
            answer(damaged, headers=DICOM) if asks_for(seen, "getSingleImage", MADE_UP[0].sop_uid) else None
        )
        more = list(instances(series=1, per_series=1, collection="MORE"))
        archive.made_up += more if verb == "mirror" else []
        if verb == "verify":  # it repairs what is damaged, and leaves alone what is owed
            next(iter(sorted((mirror / "MADE-UP").rglob("*.dcm")))).write_bytes(damaged)
        words = {
            "mirror": archive.mirror_everything(mirror),
            "resume": ("resume", mirror, *RESUME),
            "verify": ("verify", mirror, "--repair", "--json", "--progress", "none"),
        }[verb]
        assert_orderly(await bulkdl.run(*words), 1)  # one instance goes to quarantine
    assert any((mirror / ".bulkdl" / "quarantine").iterdir())
    assert open_to_others(mirror) == []


async def test_what_serve_keeps_of_a_private_mirror_is_private(bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(mirror, "--private")), 0)
    with serve(mirror, cache=tmp_path / "cache", log=tmp_path / "log") as running:
        index = f"{running.url.partition('/nbia-api')[0]}/bulkdl/index/idc_index.parquet"
        async with aiohttp.ClientSession() as session, session.get(index) as answer:
            assert answer.status == 200
        kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert {path.suffix for path in kept} >= {".sqlite", ".parquet"}
        assert [path.name for path in kept if not is_private(path, below=tmp_path / "cache")] == []


def is_private(path: Path, *, below: Path) -> bool:
    """Whether a file, or a folder on the way to it, is for its owner alone."""
    places = [path, *(place for place in path.parents if place.is_relative_to(below) and place != below)]
    return any(not place.stat().st_mode & 0o077 for place in places)


@pytest.mark.parametrize("where", [".bulkdl/x", ".bulkdl", "MADE-UP", "MADE-UP/x/y", "through a link"])
async def test_no_mirror_is_made_inside_a_mirror(where: str, bulkdl: Watcher, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(mirror)), 0)
        (tmp_path / "outside").symlink_to(mirror)
        place = tmp_path / "outside" / "x" if where == "through a link" else mirror / where
        ended = await bulkdl.run(*archive.mirror_everything(place))
    assert_orderly(ended, 2)
    assert not (place / ".bulkdl" / "journal.sqlite").exists()
