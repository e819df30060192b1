"""The pages refer to each other, are complete, and name no address that they should not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bulkdl.docs import INDEX, read_page, topics
from tests.docs.generate import DOCS

ROOT = DOCS.parents[1]
TEXTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
]
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
