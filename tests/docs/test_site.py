"""`make docs`: the pages as a site."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.generate import DOCS, ROOT


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    options = ("--quiet", "--fail-on-warning", "--fresh-env", "-c", ROOT / ".docs", "-b", "html")
    subprocess.run([sys.executable, "-m", "sphinx", *options, DOCS, folder], check=True, capture_output=True)
    return folder


def test_every_page_is_rendered(pages: Path) -> None:
    assert {page.stem for page in DOCS.glob("*.md")} <= {page.stem for page in pages.glob("*.html")}


def test_the_site_loads_nothing_from_elsewhere(pages: Path) -> None:
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]*src="https?://[^"]+"|<link[^>]*rel="stylesheet"[^>]*href="https?://[^"]+"'
    )
    assert [found for page in pages.glob("*.html") for found in loaded.findall(page.read_text(encoding="utf-8"))] == []
