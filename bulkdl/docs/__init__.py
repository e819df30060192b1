"""The documentation: one Markdown page for each topic.

`bulkdl help TOPIC` prints a page, and `make docs` renders all of them as a site. `index.md` lists every page. What
stands between `<!-- generated: … -->` and `<!-- end -->` is written by `tests/docs/generate.py` from the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

INDEX: Final = "index"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the documentation: `topic` is its file name without `.md`, `text` its Markdown."""

    topic: str
    text: str

    @property
    def title(self) -> str:
        """The first heading."""
        return self.text.partition("\n")[0].removeprefix("# ")


def topics() -> list[str]:
    """The topics in alphabetical order, without the index."""
    names = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md") and name != f"{INDEX}.md")


def read_page(topic: str) -> Page:
    """Read the page of `topic`, which is one of `topics` or `INDEX`."""
    return Page(topic, files(__name__).joinpath(f"{topic}.md").read_text(encoding="utf-8"))
