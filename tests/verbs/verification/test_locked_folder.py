"""Any folder is compared with a lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ConfigurationError
from bulkdl.manifest.locked import lock_lines
from bulkdl.model.reports.verify import ProblemKind
from bulkdl.verbs.locks.files import open_lock
from tests.support.bad_archive import BadArchive, command
from tests.support.dicom_files import instances, write_folder
from tests.support.syncing import mirrored

MADE_UP = list(instances(series=2, per_series=3))


@pytest.fixture
async def lock(tmp_path: Path) -> Path:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
    with (tmp_path / "cohort.lock").open("w", newline="") as file:
        bulkdl.manifest_lock(mirror, file)
    return tmp_path / "cohort.lock"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    (tmp_path / "folder" / "LICENSE").write_text("CC BY 4.0")
    return tmp_path / "folder"


async def test_a_complete_folder_has_no_problem_whatever_its_files_are_called(lock: Path, folder: Path) -> None:
    for number, one in enumerate(MADE_UP):
        (folder / one.path).rename(folder / f"1-{number}")
    report = await bulkdl.verify_async(folder, against=lock)
    assert (report.checked, report.sound, report.problems) == (6, 6, ())
    assert (report.series.selected, report.series.complete) == (2, 2)
    assert report.as_json()["against"] == str(lock)


async def test_every_difference_is_named(lock: Path, folder: Path) -> None:
    paths = [folder / one.path for one in MADE_UP]
    paths[0].unlink()
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[:-1] + b"?")
    paths[2].write_bytes(paths[2].read_bytes()[:-8])
    write_folder(folder, instances(series=1, per_series=1, seed="other"))
    (folder / "broken").write_bytes(bytes(128) + b"DICM?")
    report = await bulkdl.verify_async(folder, against=lock)
    found = {(problem.problem, problem.instance) for problem in report.problems}
    (other,) = instances(series=1, per_series=1, seed="other")
    assert found == {
        (ProblemKind.MISSING, MADE_UP[0].sop_uid),
        (ProblemKind.ALTERED, MADE_UP[1].sop_uid),
        (ProblemKind.TRUNCATED, MADE_UP[2].sop_uid),
        (ProblemKind.FOREIGN, other.sop_uid),
        (ProblemKind.UNREADABLE, None),
    }
    assert (report.sound, report.instances.failed, report.series.complete) == (3, 3, 1)


async def test_a_wrong_copy_beside_the_right_one_is_foreign(lock: Path, folder: Path) -> None:
    content = (folder / MADE_UP[0].path).read_bytes()
    (folder / "copy.dcm").write_bytes(content[:-1] + b"?")
    (folder / "again.dcm").write_bytes(content)
    report = await bulkdl.verify_async(folder, against=lock)
    assert [(each.path, each.problem) for each in report.problems] == [("copy.dcm", ProblemKind.FOREIGN)]


async def test_the_command_ends_with_1_where_the_folder_differs(lock: Path, folder: Path, cache: Path) -> None:
    whole = await command("verify", str(folder), "--against", str(lock), cache=cache)
    assert whole.code == 0
    (folder / MADE_UP[0].path).unlink()
    lacking = await command("verify", str(folder), "--against", str(lock), cache=cache)
    assert lacking.code == 1
    assert f"1 problem found: this is not what {lock} locks; to rebuild it: bulkdl mirror --manifest" in lacking.err


async def test_a_lock_cannot_be_combined_with_repairs(lock: Path, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be combined"):
        await bulkdl.verify_async(folder, against=lock, repair=True)
    with pytest.raises(ConfigurationError, match="not a folder"):
        await bulkdl.verify_async(folder / "none", against=lock)


@pytest.mark.parametrize(
    ("left_out", "altered"), [((), 1), (("sha256",), 1), (("sha256", "md5"), 0), (("sha256", "md5", "size_bytes"), 0)]
)
def test_a_lock_with_fewer_proofs_finds_what_these_can_tell(
    lock: Path, folder: Path, left_out: tuple[str, ...], altered: int
) -> None:
    with open_lock(lock) as (_, found):
        groups = [(series, [replace(one, **dict.fromkeys(left_out)) for one in each]) for series, each in found]
    lock.write_text("".join(lock_lines(lambda: groups, archive="", date="")))
    first, second = (folder / one.path for one in MADE_UP[:2])
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    second.unlink()
    report = bulkdl.verify(folder, against=lock)
    kinds = [problem.problem for problem in report.problems]
    assert (kinds.count(ProblemKind.ALTERED), kinds.count(ProblemKind.MISSING), len(kinds)) == (altered, 1, altered + 1)
    assert len(report.notes) == bool(left_out)
