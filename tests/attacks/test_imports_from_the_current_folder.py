"""No process that we start imports a module from the folder that the command is run in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.attacks.hostile import HostileArchive
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.commands import SCRIPT
from tests.support.dicom_files import instances
from tests.support.held_mirrors import make_mirror
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=6, per_series=6))
# Modules that bulkdl or its libraries import, and files that Python itself looks for.
NAMES = (
    *("asyncio", "pickle", "pydicom", "numpy", "secrets", "json", "logging", "hashlib", "struct", "zlib"),
    *("ssl", "enum", "typing", "dataclasses", "concurrent", "aiohttp", "aiofiles", "yarl", "encodings"),
    *("bulkdl", "sitecustomize", "usercustomize", "site", "io", "os", "gdcm", "openjpeg", "pylibjpeg"),
)


def lay_traps(folder: Path, names: Sequence[str] = NAMES) -> Path:
    """Modules of these names that leave a mark when they are imported; where the marks appear."""
    marks = folder / "marks"
    marks.mkdir()
    for number, name in enumerate(names):
        text = f"open({str(marks / name)!r}, 'w').close()\nraise ImportError('a trap')\n"
        place = folder / f"{name}.py" if number % 2 else folder / name / "__init__.py"
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
    return marks


def marked(marks: Path) -> list[str]:
    return sorted(path.name for path in marks.iterdir())


WAYS = {
    "decoders": (("--validate", "pixels"), {}),
    "workers and decoders": (("--workers", "2", "--validate", "pixels"), {}),
    "one process": ((), {}),
    "an empty PYTHONPATH": (("--workers", "2"), {"PYTHONPATH": ""}),
}


@pytest.mark.parametrize("name", WAYS)
async def test_a_mirror_imports_nothing_from_the_current_folder(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    options, more = WAYS[name]
    here = tmp_path / "here"
    here.mkdir()
    marks = lay_traps(here)
    async with HostileArchive(MADE_UP) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", *options)
        ended = await bulkdl.run(*words, cwd=here, more=more, honest_processes=4)
    assert marked(marks) == []
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_workers_that_start_by_themselves_import_nothing_from_the_current_folder(
    bulkdl: Watcher, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    marks = lay_traps(here)
    made_up = list(instances(series=13, per_series=120, seed="many"))
    async with HostileArchive(made_up) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", "--transport", "zip", "--workers", "auto")
        ended = await bulkdl.run(*words, cwd=here, honest_processes=4)
    assert marked(marks) == []
    assert_orderly(ended, 0)


async def test_an_audit_imports_nothing_from_the_current_folder(bulkdl: Watcher, tmp_path: Path) -> None:
    mirror, here = tmp_path / "mirror", tmp_path / "here"
    mirror.mkdir()
    here.mkdir()
    make_mirror(mirror, series=60, per_series=100)
    marks = lay_traps(here)
    ended = await bulkdl.run("verify", mirror, "--progress", "none", cwd=here, honest_processes=4)
    assert marked(marks) == []
    assert_orderly(ended, 0)


async def test_a_command_in_the_mirror_itself_imports_nothing_from_it(bulkdl: Watcher, tmp_path: Path) -> None:
    """A user who can write into a shared mirror must not run code as another user."""
    mirror = tmp_path / "mirror"
    async with HostileArchive(MADE_UP[:6]) as archive:
        assert_orderly(await bulkdl.run(*archive.mirror_everything(mirror)), 0)
        marks = lay_traps(mirror)
        archive.made_up = MADE_UP
        ended = await bulkdl.run(*archive.mirror_everything(Path(), "--workers", "2"), cwd=mirror, honest_processes=4)
    assert marked(marks) == []
    assert_orderly(ended, 0)


BROKEN_PYTHONS = {
    "one that ends at once": "/bin/true",
    "one that fails at once": "/bin/false",
    "one that is not there": "/nonexistent/python",
    "none": None,
    "an empty one": "",
}
PROGRAM = "import sys; sys.executable = {python!r}; from bulkdl.__main__ import command; sys.exit(command())"


@pytest.mark.parametrize("name", BROKEN_PYTHONS)
async def test_a_decoder_that_cannot_start_condemns_no_file(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    """As in a frozen program, whose `sys.executable` is not Python."""
    program = (sys.executable, "-c", PROGRAM.format(python=BROKEN_PYTHONS[name]))
    async with HostileArchive(MADE_UP) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", "--validate", "pixels")
        ended = await bulkdl.run(*words, command=program, cwd=tmp_path)
    assert quarantined(tmp_path / "mirror") == []
    assert "unsound" not in ended.said()
    assert_orderly(ended, 0, 2, 5)


@pytest.mark.parametrize("name", BROKEN_PYTHONS)
async def test_workers_that_cannot_start_are_reported_or_skipped(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    program = (sys.executable, "-c", PROGRAM.format(python=BROKEN_PYTHONS[name]))
    async with HostileArchive(MADE_UP) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", "--workers", "2")
        ended = await bulkdl.run(*words, command=program, cwd=tmp_path)
    assert quarantined(tmp_path / "mirror") == []
    assert_orderly(ended, 0, 2, 5)
    if ended.code == 0:
        assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


def quarantined(mirror: Path) -> list[str]:
    folder = mirror / ".bulkdl" / "quarantine"
    return [path.name for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


@pytest.mark.parametrize("kilobytes", [150_000, 160_000, 240_000, 400_000, 1_000_000])
async def test_a_decoder_without_memory_condemns_no_file(kilobytes: int, bulkdl: Watcher, tmp_path: Path) -> None:
    limited = ("sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh", *SCRIPT)
    async with HostileArchive(MADE_UP) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", "--validate", "pixels")
        ended = await bulkdl.run(*words, command=limited, within=12)
    assert quarantined(tmp_path / "mirror") == []
    assert "unsound" not in ended.said()
    assert_orderly(ended, 0, 2, 5)
