"""`make docs`: the pages as a site."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.generate import DOCS, ROOT

LOADED = re.compile(r'<(?:script|img|iframe)[^>]*src="https?:[^"]+"|<link[^>]*rel="stylesheet"[^>]*href="https?:[^"]+"')


def test_the_site_has_every_page_no_warning_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    options = ("--quiet", "--fail-on-warning", "--fresh-env", "-c", ROOT / ".docs", "-b", "html")
    ended = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, tmp_path], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    pages = {page.stem: page.read_text(encoding="utf-8") for page in tmp_path.glob("*.html")}
    assert {page.stem for page in DOCS.glob("*.md")} <= pages.keys()
    assert [found for text in pages.values() for found in LOADED.findall(text)] == []
