"""Files that the journal calls held, and that are not on the disk, are downloaded again and reported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.hostile import HostileArchive
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

MADE_UP = list(instances(series=4, per_series=5))


def files_of(mirror: Path) -> list[Path]:
    return sorted(path for path in mirror.rglob("*.dcm") if ".bulkdl" not in path.parts)


def remove_one(mirror: Path) -> int:
    files_of(mirror)[0].unlink()
    return 1


def cut_one(mirror: Path) -> int:
    path = files_of(mirror)[3]
    os.truncate(path, path.stat().st_size - 10)
    return 1


def empty_one(mirror: Path) -> int:
    files_of(mirror)[-1].write_bytes(b"")
    return 1


def lengthen_one(mirror: Path) -> int:
    with files_of(mirror)[2].open("ab") as file:
        file.write(b"more")
    return 1


def remove_a_series(mirror: Path) -> int:
    shutil.rmtree(files_of(mirror)[0].parent)
    return 5


def remove_a_patient(mirror: Path) -> int:
    shutil.rmtree(files_of(mirror)[0].parent.parent.parent)
    return 10


def remove_all(mirror: Path) -> int:
    shutil.rmtree(mirror / "MADE-UP")
    return 20


def move_a_series(mirror: Path) -> int:
    folder = files_of(mirror)[0].parent
    folder.rename(mirror.parent / "moved")
    return 5


def a_folder_instead_of_a_file(mirror: Path) -> int:
    path = files_of(mirror)[0]
    path.unlink()
    path.mkdir()
    return 1


def a_dangling_link_instead_of_a_file(mirror: Path) -> int:
    path = files_of(mirror)[0]
    path.unlink()
    path.symlink_to(mirror.parent / "nowhere")
    return 1


LOSSES = [remove_one, cut_one, empty_one, lengthen_one, remove_a_series, remove_a_patient, remove_all, move_a_series]


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """The place of a mirror."""
    return tmp_path / "mirror"


async def test_mirror_fetches_exactly_what_is_gone_or_cut(bulkdl: Watcher, complete: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(complete)), 0)
        for lose in LOSSES:
            lost = lose(complete)
            before = len(archive.object_requests())
            ended = await bulkdl.run(*archive.mirror_everything(complete))
            assert_orderly(ended, 0)
            assert len(archive.object_requests()) - before == lost, lose.__name__
            assert ended.document()["instances"]["fetched"] == lost
            assert checksums_on_disk(complete) == journalled_checksums(complete) == checksums_of(MADE_UP)


async def test_resume_fetches_exactly_what_is_gone_or_cut_and_says_so(bulkdl: Watcher, complete: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(complete)), 0)
        for lose in (remove_one, cut_one, remove_all):
            lost = lose(complete)
            before = len(archive.object_requests())
            ended = await bulkdl.run("resume", complete, "--json", "--progress", "plain", "--transport", "single")
            assert_orderly(ended, 0)
            assert len(archive.object_requests()) - before == lost, lose.__name__
            assert checksums_on_disk(complete) == checksums_of(MADE_UP)
            assert any(word in ended.err for word in ("again", "missing", "gone", "truncated")), lose.__name__


@pytest.mark.parametrize(
    "lose", [a_folder_instead_of_a_file, a_dangling_link_instead_of_a_file], ids=lambda lose: lose.__name__
)
async def test_what_stands_in_the_place_of_a_file_is_not_called_held(
    lose: Callable[[Path], int], bulkdl: Watcher, complete: Path
) -> None:
    async with HostileArchive(MADE_UP) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(complete)), 0)
        lose(complete)
        ended = await bulkdl.run(*archive.mirror_everything(complete))
    assert_orderly(ended, 0, 1, 5)
    if ended.code == 0:
        assert checksums_on_disk(complete) == checksums_of(MADE_UP)
    assert not (complete.parent / "nowhere").exists()


async def test_half_a_mirror_that_was_removed_is_complete_again_having_fetched_exactly_that_half(
    bulkdl: Watcher, complete: Path
) -> None:
    """Acceptance: `rm -r` of half a mirror, then `mirror`."""
    made_up = list(instances(series=40, per_series=5))
    async with HostileArchive(made_up) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(complete)), 0)
        patients = sorted(path for path in (complete / "MADE-UP").iterdir() if path.is_dir())
        removed = {path.name for path in patients[::2]}
        for name in removed:
            shutil.rmtree(complete / "MADE-UP" / name)
        before = len(archive.object_requests())
        ended = await bulkdl.run(*archive.mirror_everything(complete))
        assert_orderly(ended, 0)
        fetched = [seen.query["SOPInstanceUID"] for seen in archive.object_requests()[before:]]
    assert sorted(fetched) == sorted(one.sop_uid for one in made_up if one.patient_id in removed)
    assert len(fetched) == len(made_up) // 2
    document = ended.document()["instances"]
    assert (document["fetched"], document["reused"]) == (100, 100)
    assert checksums_on_disk(complete) == journalled_checksums(complete) == checksums_of(made_up)
    assert_orderly(await bulkdl.run("verify", complete, "--progress", "none"), 0)


async def test_a_whole_mirror_is_confirmed_without_a_request_for_an_object(bulkdl: Watcher, complete: Path) -> None:
    """The honest case."""
    async with HostileArchive(MADE_UP) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(complete)), 0)
        before = len(archive.object_requests())
        ended = await bulkdl.run(*archive.mirror_everything(complete))
        assert_orderly(ended, 0)
        assert ended.document()["instances"]["reused"] == len(MADE_UP)
        asked = len(archive.server.requests)
        assert_orderly(await bulkdl.run("resume", complete, "--progress", "none"), 0)
        assert len(archive.server.requests) == asked
        assert len(archive.object_requests()) == before
