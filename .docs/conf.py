"""How Sphinx renders `bulkdl/docs` as a site: `make docs`. Every warning is an error there."""  # noqa: INP001 - a configuration, not a module

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bulkdl import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "bulkdl"
author = "The bulkdl developers"
project_copyright = "The bulkdl developers"
version = release = __version__

extensions = ["myst_parser"]
myst_heading_anchors = 3
root_doc = "index"
smartquotes = False  # "--" is the beginning of an option here

html_theme = "furo"
html_title = f"bulkdl {__version__}"
html_copy_source = False
html_show_sphinx = False


def _add_toctrees(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the index a table of contents: a tree for each of its headings, with the pages that are linked below it."""
    del app
    if page != root_doc:
        return
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", source[0], re.MULTILINE | re.DOTALL):
        pages = "\n".join(re.findall(r"\]\((.+?)\.md\)", body))
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_toctrees)
