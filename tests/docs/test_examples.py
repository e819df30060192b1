"""The examples of the README and of the documentation work.

Blocks marked `sh` and `python` run in the order of the page, in an empty folder for each page. They need no network,
because they use the demonstration archive. Blocks marked `shell` need a network or a server; their commands and options
are checked.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bulkdl.cli.main import run
from tests.docs.generate import DOCS, ROOT, commands

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"^```(?P<kind>[a-z]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# Options of other programs, and of `bulkdl` itself.
FOREIGN = frozenset({"--help", "--version", "--readonly", "--requeue", "--signal", "--time", "--cli"}) | {
    "--endpoint-url",
    "--no-sign-request",
}


def blocks(page: Path, *kinds: str) -> list[tuple[str, str]]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(block["kind"], block["body"]) for block in found if block["kind"] in kinds]


def lines(script: str) -> Iterator[str]:
    for line in script.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def options() -> dict[str, set[str]]:
    """The options of each command; a command with further commands in it has theirs."""
    known: dict[str, set[str]] = {}
    for ctx, command in commands():
        of_command = known.setdefault(ctx.command_path.split()[1], set())
        of_command |= {name for option in command.params for name in option.opts if isinstance(option, click.Option)}
    return known


def runnable() -> list[Path]:
    return [page for page in PAGES if blocks(page, "sh", "python")]


@pytest.fixture
def place(tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with the samples of the repository, and the session's cache."""
    for name in list(os.environ):
        if name.startswith("BULKDL_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(demo_cache))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "manifests").symlink_to(ROOT / "manifests")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("page", runnable(), ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path) -> None:
    for kind, body in blocks(page, "sh", "python"):
        if kind == "python":
            exec(compile(body, f"{page.name}", "exec"), {"__name__": "example"})  # noqa: S102 - our own text
            continue
        for line in lines(body):
            words = shlex.split(line, comments=True)
            if words[0] == "bulkdl":
                assert run(words[1:]) == 0, line
            else:
                subprocess.run(["bash", "-c", line], check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_need_a_network_exist_with_their_options(page: Path) -> None:
    known = options()
    for _, body in blocks(page, "sh", "shell", "text"):
        for line in lines(body):
            for command, rest in re.findall(r"(?:^|\| |[0-9*] +)bulkdl ([a-z]+)\b([^|>]*)", line):
                assert command in known, line
                assert set(OPTION.findall(rest)) - known[command] - FOREIGN == set(), line


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "migrate"], ids=lambda page: page.stem)
def test_every_option_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(OPTION.findall(text)) - set().union(*options().values()) - FOREIGN == set()
