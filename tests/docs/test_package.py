"""The built wheel and the source archive: complete, installable, described."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import twine.commands.check

from bulkdl import __version__
from tests.docs.generate import DOCS, ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def test_the_wheel_holds_every_page_and_says_that_it_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"bulkdl/docs/{page.name}" for page in DOCS.glob("*.md")} | {"bulkdl/py.typed"} <= names
    project = f"bulkdl-{__version__}"
    assert {name.partition("/")[0] for name in names} == {"bulkdl", f"{project}.data", f"{project}.dist-info"}
    assert [name for name in names if ".data/" in name] == [f"{project}.data/data/share/man/man1/bulkdl.1"]


def test_the_source_archive_holds_what_its_tests_need(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "Makefile", ".github/run.svg", ".docs/conf.py"} <= names
    assert {"tests/conftest.py", "manifests/sample.tcia", ".requirements/dev.txt"} <= names


def test_the_descriptions_pass_a_strict_check(built: Path) -> None:
    assert not twine.commands.check.check([str(path) for path in built.iterdir()], strict=True)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel, and sees the dependencies of this one."""
    environment = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(environment)
    packages = next(environment.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)  # noqa: S202 - our own wheel
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return environment / "bin" / "python"


def outside(python: Path, *arguments: str) -> str:
    """What `python ARGUMENTS` prints, in a folder without the sources."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BULKDL_"))}
    command = [str(python), *arguments]
    return subprocess.run(command, cwd=python.parent, env=kept, capture_output=True, text=True, check=True).stdout


def test_an_installed_wheel_runs(installed: Path) -> None:
    where = outside(installed, "-c", "import bulkdl; print(bulkdl.__file__)")
    assert Path(where.strip()).is_relative_to(installed.parents[1])
    assert outside(installed, "-m", "bulkdl", "--version") == f"bulkdl {__version__}\n"
    assert "quickstart" in outside(installed, "-m", "bulkdl", "help")


def test_an_installed_wheel_has_the_command(installed: Path) -> None:
    script = "from importlib.metadata import distribution as d; print(*(e.value for e in d('bulkdl').entry_points))"
    assert outside(installed, "-c", script) == "bulkdl.__main__:command\n"


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project["dynamic"]
    assert f"version: {__version__}\n" in (ROOT / ".github" / "CITATION.cff").read_text(encoding="utf-8")
