"""Commands on a terminal: only there they draw bars and ask questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkdl.server.passwords import is_password
from tests.support.commands import RunningArchive, serve
from tests.support.dicom_files import instances, write_folder
from tests.support.held_mirrors import make_mirror
from tests.support.terminals import run_on_terminal


@pytest.fixture(scope="module")
def archive(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    folder = tmp_path_factory.mktemp("archive")
    write_folder(folder, instances(series=3, per_series=2, collection="FIRST"))
    with serve(folder, cache=cache, log=tmp_path_factory.mktemp("log") / "access.jsonl") as running:
        yield running


@pytest.mark.parametrize("columns", [80, 40])
def test_every_verb_that_downloads_or_verifies_draws_its_bar(
    archive: RunningArchive, cache: Path, tmp_path: Path, columns: int
) -> None:
    mirror = tmp_path / "m"
    for words, said in (
        (["mirror", "--archive", archive.url, "--collection", "FIRST", "--to", mirror], "3 of 3 series"),
        (["resume", mirror], "3 of 3 series"),
        (["sync", mirror], "3 of 3 series"),
        (["verify", mirror], "files"),
        (["adopt", mirror, "--to", tmp_path / "n"], "adopted"),
    ):
        environment = {"XDG_CACHE_HOME": str(cache), "NO_COLOR": "1"}
        code, screen = run_on_terminal(words, columns=columns, environment=environment)
        assert code == 0, screen
        assert said in screen


@pytest.mark.parametrize("columns", [300, 40])
def test_watching_keeps_the_head_in_sight(cache: Path, tmp_path: Path, columns: int) -> None:
    """A text with more lines than the terminal has rows, or with longer ones, would scroll its own head away."""
    make_mirror(tmp_path / "m", series=2, per_series=1)
    words = ["status", "--watch", tmp_path / "m"]
    code, screen = run_on_terminal(
        words, columns=columns, rows=5, environment={"XDG_CACHE_HOME": str(cache)}, until=b"more lines"
    )
    shown = screen.partition("\x1b[J")[2].splitlines()
    assert code == 0
    assert len(shown) == 4
    assert max(map(len, shown)) <= columns
    assert shown[0].startswith(str(tmp_path)[:30])


def test_a_password_is_hashed_without_being_shown(cache: Path) -> None:
    """On a terminal it is typed twice."""
    environment = {"XDG_CACHE_HOME": str(cache)}
    code, screen = run_on_terminal(
        ["serve", "--hash-password"], environment=environment, typed=[b"let me in\n", b"let me in\n"]
    )
    assert code == 0
    assert "let me in" not in screen
    assert is_password("let me in", screen.split()[-1])
