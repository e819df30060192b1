"""The packaged documentation as pages. markdown-it-py renders it, with the links between its pages made ours."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from bulkdl import docs
from bulkdl.docs import INDEX, read_page, topics
from bulkdl.server.portal.pages import PageMissing, PageRequest

PICTURES: Final = {".png": "image/png", ".svg": "image/svg+xml"}
"""The media types of the pictures of the documentation, by the end of their names."""


def help_page(request: PageRequest) -> dict[str, Any]:
    """A page of the documentation; without a topic the list of all.

    Raises:
        PageMissing: there is no such page.
    """
    topic = request.match.get("topic", "").removesuffix(".md") or INDEX
    if topic != INDEX and topic not in topics():
        raise PageMissing("There is no help topic of this name.")
    page = read_page(topic)
    return {"title": page.title, "body": _rendered(topic), "topics": topics(), "topic": topic}


def read_picture(name: str) -> bytes | None:
    """A picture of the documentation; None if there is none of this name."""
    known = {entry.name: entry for entry in files(docs).iterdir() if Path(entry.name).suffix in PICTURES}
    return known[name].read_bytes() if name in known else None


@cache  # of the few topics that there are
def _rendered(topic: str) -> Any:
    """The HTML of a page, which our own documentation may contain: it is marked as safe."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - slow to import; only these pages need it
    from markupsafe import Markup  # noqa: PLC0415 - comes with jinja2

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(_without_comments(read_page(topic).text))
    for token in tokens:
        for part in token.children or ():
            href = str(part.attrs.get("href", ""))
            if href.partition("#")[0].endswith(".md") and "/" not in href:
                part.attrs["href"] = f"/help/{href.replace('.md', '', 1)}"
            src = str(part.attrs.get("src", ""))
            if Path(src).suffix in PICTURES and "/" not in src:
                part.attrs["src"] = f"/help/{src}"
    return Markup(reader.renderer.render(tokens, reader.options, {}))  # noqa: S704 - our own texts, with HTML in them escaped


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("<!--"))
