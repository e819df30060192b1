"""Nothing outside the served folders goes out, whatever is put into them: links, absolute folders, other files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.attacks.hostile import HostileArchive
from tests.attacks.serving import SERVICES, Server, serving
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import MadeUp, instances, write_folder

MADE_UP = list(instances(series=2, per_series=3))
VICTIM = MADE_UP[0]
# Of the same size as what is served, valid DICOM, and with a mark where its pixels are.
MARK = b"OUTSIDE!"
OUTSIDE = VICTIM.content[: len(VICTIM.content) - 64] + MARK * 8

Attack = Callable[[Path, Path], None]  # the served folder, and the file outside


async def sent(server: Server) -> bytes:
    """Everything that the server gives of the first Series, by every way that opens files."""
    series, sop = f"SeriesInstanceUID={VICTIM.series_uid}", f"SOPInstanceUID={VICTIM.sop_uid}"
    paths = [
        f"{SERVICES}/v1/getSingleImage?{series}&{sop}",
        f"{SERVICES}/v4/getSingleImage?{series}&{sop}",
        f"{SERVICES}/v1/getImage?{series}",
        f"{SERVICES}/v1/getImageWithMD5Hash?{series}",
        f"/services/v3/TCIA/query/getSingleImage?{series}&{sop}",
        f"/services/v3/TCIA/query/getImage?{series}",
        f"{SERVICES}/v4/getDicomTags?SeriesUID={VICTIM.series_uid}",
    ]
    bodies = [(await server.get(path)).body for path in paths]
    form = f"seriesUID={VICTIM.series_uid}&objectUID={VICTIM.sop_uid}".encode()
    bodies.append((await server.post(f"{SERVICES}/v4/getThumbnail", form)).body)
    return b"".join(bodies)


def path_of(folder: Path) -> Path:
    return next(path for path in folder.rglob("*.dcm") if path.stem == VICTIM.sop_uid)


def link_to_a_file(folder: Path, outside: Path) -> None:
    path = path_of(folder)
    path.unlink()
    path.symlink_to(outside)


def link_to_a_folder(folder: Path, outside: Path) -> None:
    parent = path_of(folder).parent
    parent.rename(folder.parent / "moved")
    there = folder.parent / "there"
    there.mkdir()
    for path in (folder.parent / "moved").iterdir():
        (there / path.name).write_bytes(outside.read_bytes())
    parent.symlink_to(there)


def link_of_a_link(folder: Path, outside: Path) -> None:
    (folder / "between").symlink_to(outside.parent)
    path = path_of(folder)
    path.unlink()
    path.symlink_to(folder / "between" / outside.name)


def another_file(folder: Path, outside: Path) -> None:
    """Not a link: the file was replaced, and is of the same size."""
    path_of(folder).write_bytes(outside.read_bytes())


LINKS = [link_to_a_file, link_to_a_folder, link_of_a_link]


def lay_outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside" / f"{VICTIM.sop_uid}.dcm"
    outside.parent.mkdir()
    outside.write_bytes(OUTSIDE)
    return outside


@pytest.mark.parametrize("attack", LINKS, ids=lambda attack: attack.__name__)
async def test_links_put_into_a_folder_that_is_served_are_not_followed(
    attack: Attack, bulkdl: Watcher, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    write_folder(folder, iter(MADE_UP))
    async with serving(bulkdl, folder) as server:
        assert MARK not in await sent(server)
        attack(folder, lay_outside(tmp_path))
        assert MARK not in await sent(server)


@pytest.mark.parametrize("attack", LINKS, ids=lambda attack: attack.__name__)
async def test_links_that_lie_in_a_folder_are_not_served(attack: Attack, bulkdl: Watcher, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write_folder(folder, iter(MADE_UP))
    attack(folder, lay_outside(tmp_path))
    async with serving(bulkdl, folder) as server:
        assert MARK not in await sent(server)


async def mirror_of(bulkdl: Watcher, made_up: list[MadeUp], mirror: Path) -> Path:
    async with HostileArchive(made_up) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(mirror)), 0)
    return mirror


@pytest.mark.parametrize("attack", LINKS, ids=lambda attack: attack.__name__)
async def test_links_in_a_mirror_that_was_handed_over_are_not_followed(
    attack: Attack, bulkdl: Watcher, tmp_path: Path
) -> None:
    mirror = await mirror_of(bulkdl, MADE_UP, tmp_path / "mirror")
    attack(mirror, lay_outside(tmp_path))
    async with serving(bulkdl, mirror) as server:
        assert MARK not in await sent(server)


def folders(outside: Path) -> dict[str, str]:
    up = "../" * 40
    return {
        "absolute": str(outside.parent),
        "with dots": f"{up}{str(outside.parent)[1:]}",
        "with dots inside": f"MADE-UP/{up}{str(outside.parent)[1:]}",
    }


@pytest.mark.parametrize("name", ["absolute", "with dots", "with dots inside"])
async def test_folders_in_a_journal_that_was_handed_over_do_not_lead_outside(
    name: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    mirror = await mirror_of(bulkdl, MADE_UP, tmp_path / "mirror")
    outside = lay_outside(tmp_path)
    with closing(sqlite3.connect(mirror / ".bulkdl" / "journal.sqlite")) as database, database:
        change = "UPDATE series SET folder = ? WHERE series_uid = ?"
        assert database.execute(change, (folders(outside)[name], VICTIM.series_uid)).rowcount == 1
    try:
        async with serving(bulkdl, mirror) as server:
            assert MARK not in await sent(server)
    except AssertionError as error:
        assert "bulkdl:" in str(error)  # to refuse the whole mirror in words is right too  # noqa: PT017


@pytest.mark.parametrize("place", ["name", "folder"])
async def test_names_in_a_journal_that_was_handed_over_do_not_lead_outside(
    place: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    mirror = await mirror_of(bulkdl, MADE_UP, tmp_path / "mirror")
    outside = lay_outside(tmp_path)
    target = "../" * 40 + str(outside)[1:] if place == "name" else str(outside)
    with closing(sqlite3.connect(mirror / ".bulkdl" / "journal.sqlite")) as database, database:
        database.execute("UPDATE instance SET name = ? WHERE sop_uid = ?", (target, VICTIM.sop_uid))
    async with serving(bulkdl, mirror) as server:
        assert MARK not in await sent(server)


async def test_a_file_that_was_replaced_by_another_of_its_size_is_not_served(bulkdl: Watcher, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write_folder(folder, iter(MADE_UP))
    async with serving(bulkdl, folder) as server:
        assert VICTIM.content in await sent(server)
        another_file(folder, lay_outside(tmp_path))
        assert MARK not in await sent(server)


ODD_PATHS = [
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    f"{SERVICES}/v1/getSingleImage?SeriesInstanceUID=../../etc&SOPInstanceUID=passwd",
    f"{SERVICES}/v1/getImage?SeriesInstanceUID=%00",
    f"{SERVICES}/v1/getSingleImage?SeriesInstanceUID={VICTIM.series_uid}%2f..&SOPInstanceUID={VICTIM.sop_uid}",
    "//etc/passwd",
    "/nbia-api/services/v1/..%2f..%2fetc%2fpasswd",
]


async def test_paths_of_requests_do_not_lead_outside(bulkdl: Watcher, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write_folder(folder, iter(MADE_UP))
    async with serving(bulkdl, folder) as server:
        for path in ODD_PATHS:
            reply = await server.get(path)
            assert b"root:" not in reply.body
            assert reply.status in {200, 400, 404, 405, 500}
            assert reply.status != 500 or b"Server was not able" in reply.body or reply.body == b""
