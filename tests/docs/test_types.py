"""What a type checker says of programs that use the library: one run of mypy, which takes longer than all the rest."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.generate import ROOT
from tests.docs.test_examples import PAGES, blocks

ASKED = """
import bulkdl
async def ask() -> None:
    async with bulkdl.connect() as archive:
        reveal_type(await archive.get_series(collection='A'))
        archive.get_serie()
        archive.get_image(sop_uid='1')
"""

pytestmark = pytest.mark.timeout(300)  # without a cache, mypy reads the dependencies, too


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines about `asked.py` and about the examples of the documentation, each in one file."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "asked.py").write_text(ASKED)
    examples = [body for page in PAGES for _, body in blocks(page, "python")]
    for number, body in enumerate(examples):
        (folder / f"example_{number}.py").write_text(body)
    words = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    ended = subprocess.run([*words, *map(str, folder.iterdir())], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "(checked " in ended.stdout, ended.stderr
    return ended.stdout.splitlines()  # the cache of mypy may name the folder of an earlier run


def test_the_examples_in_python_have_types_that_fit(found: list[str]) -> None:
    assert [line for line in found if "example_" in line] == []


def test_a_type_checker_knows_the_methods_of_an_archive(found: list[str]) -> None:
    """Each line has the type that is written beside it, or the error."""
    said = "\n".join(line for line in found if "asked.py" in line)
    assert 'Revealed type is "bulkdl.verbs.tables.records.Records"' in said
    assert 'has no attribute "get_serie"' in said
    assert 'Missing named argument "series_uid" for "get_image"' in said
