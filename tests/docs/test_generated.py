"""The generated parts of the documentation say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.generate import DOCS, badges, commands, generated

PACKAGE = DOCS.parent
PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_what_the_code_generates(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == generated(text), "run: make docs"


def test_the_badges_are_true() -> None:
    assert {path: path.read_text(encoding="utf-8") for path in badges()} == badges(), "run: make docs"


def test_every_command_is_in_the_reference() -> None:
    text = (DOCS / "options.md").read_text(encoding="utf-8")
    assert [f"## bulkdl {ctx.info_name}" for ctx, _ in commands()] == re.findall(r"^## bulkdl .*$", text, re.MULTILINE)


def test_every_environment_variable_is_in_the_reference() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "cli").rglob("*.py"))
    text = (DOCS / "environment.md").read_text(encoding="utf-8")
    assert {name for name in re.findall(r'"(BULKDL_[A-Z_]+)"', sources) if f"`{name}`" not in text} == set()
