"""The pages refer to each other, are complete, and name no address that they should not."""

from __future__ import annotations

import io
import pkgutil
import re
from pathlib import Path

import pytest
import readme_renderer.markdown

from bulkdl.docs import INDEX, read_page, topics
from tests.docs.generate import DOCS

ROOT = DOCS.parents[1]
TEXTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
]
URL = "https://github.com/bulkdl/bulkdl"
RAW = "https://raw.githubusercontent.com/bulkdl/bulkdl"
LINK = re.compile(r"\[[^]]*\]\(([^)]+)\)")
CONTRACT = {"quickstart", "archives", "manifests", "layouts", "config", "exit-codes", "json", "journal", "migrate"}


def test_the_index_lists_every_page_once() -> None:
    assert sorted(LINK.findall(read_page(INDEX).text)) == [f"{topic}.md" for topic in topics()]


def test_the_topics_of_the_contract_exist() -> None:
    assert CONTRACT | {"troubleshooting"} <= set(topics())


@pytest.mark.parametrize("topic", [INDEX, *topics()])
def test_a_page_begins_with_its_title(topic: str) -> None:
    page = read_page(topic)
    assert page.text.startswith("# ")
    assert page.title


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    targets = [target for target in LINK.findall(path.read_text(encoding="utf-8")) if "://" not in target]
    missing = [target for target in targets if (page := target.partition("#")[0]) and not (DOCS / page).is_file()]
    assert missing == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_no_text_names_a_package_registry(path: Path) -> None:
    assert not re.search(r"\b(pypi|pythonhosted|npmjs)\.", path.read_text(encoding="utf-8"), re.IGNORECASE)


def test_links_of_the_readme_work_on_a_package_index() -> None:
    targets = LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []


def test_links_of_the_readme_into_the_project_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    own = re.compile(rf"{re.escape(URL)}/(?:blob|tree)/main/([^)#]+)|{re.escape(RAW)}/main/([^)#]+)")
    paths = [blob or raw for blob, raw in own.findall(text)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_readme_renders_strictly() -> None:
    problems = io.StringIO()
    rendered = readme_renderer.markdown.render((ROOT / "README.md").read_text(encoding="utf-8"), stream=problems)
    assert rendered is not None
    assert problems.getvalue() == ""


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_names_of_modules_and_paths_exist(path: Path) -> None:
    """Those with dots, as `bulkdl.docs.read_page`, and paths, as `bulkdl/docs/__init__.py`."""
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![/\w])bulkdl(?:\.[a-z_]+)+\b", text):
        pkgutil.resolve_name(name)
    paths = re.findall(r"`((?:bulkdl|tests|manifests)/[\w./-]+)`", text)
    assert [each for each in paths if not (ROOT / each).exists()] == []
