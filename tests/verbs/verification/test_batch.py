"""Each file of a batch is compared with its size and SHA-256; a batch that is stopped has no answer."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bulkdl.model.reports.verify import ProblemKind
from bulkdl.runtime.processes import AnsweringProcess
from bulkdl.verbs.verification.batch import ExpectedFile, verify_batch

CONTENT = b"0123456789"
SHA256 = hashlib.sha256(CONTENT).digest()


def expected(path: Path, *, size: int = len(CONTENT), sha256: bytes | None = SHA256) -> ExpectedFile:
    path.write_bytes(CONTENT)
    return ExpectedFile(str(path), size, sha256)


def test_each_problem_has_its_kind(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "good")
    batch = (
        expected(tmp_path / "good"),
        expected(tmp_path / "short", size=11),
        expected(tmp_path / "long", size=9),
        expected(tmp_path / "altered", sha256=bytes(32)),
        expected(tmp_path / "size only", sha256=None),
        ExpectedFile(str(link), len(CONTENT), SHA256),
        ExpectedFile(str(tmp_path / "none"), len(CONTENT), SHA256),
        ExpectedFile(str(tmp_path / "good" / "below"), len(CONTENT), SHA256),
    )
    altered, missing = ProblemKind.ALTERED, ProblemKind.MISSING
    kinds = (None, ProblemKind.TRUNCATED, altered, altered, None, altered, missing, missing)
    assert verify_batch(batch) == kinds


def test_a_stopped_batch_has_no_answer(tmp_path: Path) -> None:
    assert verify_batch((expected(tmp_path / "a"),), lambda _: False) is None


def test_what_is_read_is_counted_within_files_too(tmp_path: Path) -> None:
    content, sizes = bytes(600_000), list[int]()
    large = expected(tmp_path / "a", size=len(content), sha256=hashlib.sha256(content).digest())
    Path(large.path).write_bytes(content)

    def count(size: int) -> bool:
        sizes.append(size)
        return True

    assert verify_batch((large, expected(tmp_path / "b")), count) == (None, None)
    assert sum(sizes) == len(content) + len(CONTENT)
    assert len(sizes) > 2


@pytest.mark.parametrize("sha256", [SHA256, bytes(32)])
async def test_a_process_gives_the_same_answer(tmp_path: Path, sha256: bytes) -> None:
    batch = (expected(tmp_path / "a", sha256=sha256),)
    async with AnsweringProcess("bulkdl.verbs.verification.batch") as process:
        assert await process.ask(batch) == verify_batch(batch)
