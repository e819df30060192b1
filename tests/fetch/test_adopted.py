"""Adopted files are compared with what the archive says of them, over HTTP, with checksums and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.model.reports.base import RunOutcome
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.sync import sync_async
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of, no_fault
from tests.support.dicom_files import MadeUp, instances, padded
from tests.support.faults import Action, Seen, answer
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums


def put(folder: Path, made_up: list[MadeUp]) -> None:
    folder.mkdir()
    for number, one in enumerate(made_up):
        (folder / f"{number}.dcm").write_bytes(one.content)


@pytest.mark.parametrize("shortened", [1, 3], ids=["one of three", "all"])
@pytest.mark.parametrize("told", ["checksums", "sizes"])
async def test_what_was_adopted_and_is_not_what_the_archive_has_is_downloaded(
    shortened: int, told: str, tmp_path: Path
) -> None:
    adopted = list(instances(series=1, per_series=3))
    there = [padded(one) for one in adopted[:shortened]] + adopted[shortened:]
    put(tmp_path / "source", adopted)

    def without_checksums(seen: Seen) -> Action | None:
        return answer(b"", status=404) if "MD5" in endpoint_of(seen) or "M5" in endpoint_of(seen) else None

    async with BadArchive(there, without_checksums if told == "sizes" else no_fault) as archive:
        mirror = tmp_path / "mirror"
        await adopt_async(tmp_path / "source", to=mirror, collection=adopted[0].collection, archive=archive.address)
        report = await archive.mirror(tmp_path)
        assert report.instances.fetched == (shortened if told == "checksums" else 3)
        again = await archive.mirror(tmp_path)
    assert (report.outcome, again.outcome, again.instances.fetched) == (RunOutcome.COMPLETE, RunOutcome.COMPLETE, 0)
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(there)


@pytest.mark.parametrize("are_other_bytes", [True, False])
async def test_files_adopted_of_a_part_are_compared_by_size_once_the_series_is_complete(
    are_other_bytes: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    made_up = list(instances(series=1, per_series=3))
    there = [padded(made_up[0]), *made_up[1:]] if are_other_bytes else made_up
    put(tmp_path / "source", made_up[:2])

    def without_checksums(seen: Seen) -> Action | None:
        return answer(b"", status=404) if "MD5" in endpoint_of(seen) or "M5" in endpoint_of(seen) else None

    async with BadArchive(there, without_checksums) as archive:
        mirror = tmp_path / "mirror"
        await adopt_async(tmp_path / "source", to=mirror, collection=made_up[0].collection, archive=archive.address)
        report = await archive.mirror(tmp_path)
        assert archive.object_requests() == (3 if are_other_bytes else 1)
    assert report.outcome is RunOutcome.COMPLETE
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(there)


async def test_sync_asks_for_the_checksum_of_an_adopted_file_once(tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=3))
    put(tmp_path / "source", made_up)
    async with BadArchive(made_up) as archive:
        mirror = tmp_path / "mirror"
        await adopt_async(tmp_path / "source", to=mirror, collection=made_up[0].collection, archive=archive.address)
        await archive.mirror(tmp_path)
        before = len(archive.asked("getM5HashForImage"))
        archive.made_up = [padded(made_up[0]), *made_up[1:]]  # another size, so the Series has changed
        await sync_async(mirror, archive=archive.choice(tmp_path), settings=QUICK)
        asked = [seen.query["SOPInstanceUid"] for seen in archive.asked("getM5HashForImage")[before:]]
    assert len(asked) == len(set(asked)) == 3
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(archive.made_up)


async def test_what_was_adopted_and_is_what_the_archive_has_is_kept(tmp_path: Path) -> None:
    made_up = list(instances(series=2, per_series=3))
    put(tmp_path / "source", made_up)
    async with BadArchive(made_up) as archive:
        await adopt_async(tmp_path / "source", to=tmp_path / "mirror", archive=archive.address)
        report = await archive.mirror(tmp_path)
        assert archive.object_requests() == 0
    assert (report.outcome, report.instances.reused) == (RunOutcome.COMPLETE, 6)
