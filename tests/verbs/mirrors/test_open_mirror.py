"""A mirror is opened by one process at a time; its layout and the folders of its Series stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.errors import MirrorLocked
from bulkdl.journal.journal import Journal
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.layout import DEFAULT_LAYOUT, parse_layout
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.mirrors.open_mirror import open_mirror, place_series
from tests.support.journals import NOW, begin, record


async def test_partial_files_that_a_dead_worker_left_do_not_outlast_the_run(tmp_path: Path) -> None:
    async with open_mirror(tmp_path, "mirror") as mirror:
        left = mirror.files.partials.path("left.zip-entry")
        left.write_bytes(b"a part")
    assert not left.exists()


async def test_an_open_mirror_is_locked(tmp_path: Path) -> None:
    async with open_mirror(tmp_path, "first"):
        with pytest.raises(MirrorLocked):
            async with open_mirror(tmp_path, "second"):
                pass
    async with open_mirror(tmp_path, "third") as mirror:
        assert mirror.files.root == tmp_path
    assert require_mirror(tmp_path) == tmp_path / JOURNAL


async def test_a_mirror_keeps_its_first_layout(tmp_path: Path) -> None:
    flat = parse_layout("{collection}/{series}")
    async with open_mirror(tmp_path / "one", "first") as mirror:
        assert await mirror.settle_layout(flat) == flat
        assert await mirror.settle_layout() == flat
    async with open_mirror(tmp_path / "other", "first") as mirror:
        assert await mirror.settle_layout() == DEFAULT_LAYOUT


def test_a_series_keeps_its_folder(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).parent.mkdir()
    with Journal.create_or_open(tmp_path / JOURNAL) as journal:
        run = begin(journal)
        ((first, folder),) = place_series(journal, [record(0)], parse_layout("{collection}/{series}"))
        journal.record_series(run, [(first, folder)], now=NOW)
        again = place_series(journal, [record(0)], parse_layout("{collection}/{series}"))
        assert again == [(first, folder)]
