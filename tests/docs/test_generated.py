"""The generated parts of the documentation say what the code says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.generate import DOCS, PAGES, badges, commands, exit_meanings, generated
from tests.docs.man_page import MAN_PAGE, man_page
from tests.docs.method_stubs import STUBS, stubs

PACKAGE = DOCS.parent
ROOT = PACKAGE.parent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_what_the_code_generates(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == generated(text), "run: make docs"


def test_the_page_on_options_has_every_option_of_every_command() -> None:
    page = (DOCS / "options.md").read_text(encoding="utf-8")
    flags = {flag for _, command in commands() for param in command.params for flag in param.opts if flag[0] == "-"}
    missing = [flag for flag in flags if not re.search(rf"^\| `[^`]*(?<![\w-]){flag}(?![\w-])", page, re.MULTILINE)]
    assert missing == []


def test_the_man_page_is_what_the_commands_say() -> None:

    page = man_page(commands(), exit_meanings())
    assert MAN_PAGE.read_text(encoding="utf-8") == page, "run: make docs"
    assert re.findall(r"^\.SS bulkdl ([a-z]+(?: [a-z\\-]+)?)(?= [\[A-Z]|$)", page, re.MULTILINE)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_man_page_is_valid_for_groff() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", str(MAN_PAGE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert checked.stderr == ""


def test_the_stubs_of_the_methods_are_those_of_the_tables() -> None:
    assert STUBS.read_text(encoding="utf-8") == stubs(), "run: make docs"


def test_the_badges_are_true() -> None:
    assert {path: path.read_text(encoding="utf-8") for path in badges()} == badges(), "run: make docs"


def test_every_command_is_in_the_reference() -> None:
    text = (DOCS / "options.md").read_text(encoding="utf-8")
    assert [f"## bulkdl {ctx.info_name}" for ctx, _ in commands()] == re.findall(r"^## bulkdl .*$", text, re.MULTILINE)


def test_every_environment_variable_is_in_the_reference() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "cli").rglob("*.py"))
    text = (DOCS / "environment.md").read_text(encoding="utf-8")
    assert {name for name in re.findall(r'"(BULKDL_[A-Z_]+)"', sources) if f"`{name}`" not in text} == set()
