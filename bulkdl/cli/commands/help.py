"""`bulkdl help`: print a page of the documentation.

Imports neither the archive client nor the options of other commands, so that it starts quickly and needs no network.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import Final

import click

from bulkdl.cli.sections import SectionedCommand
from bulkdl.docs import INDEX, read_page, topics
from bulkdl.errors import UserError

_COMMENT: Final = re.compile(r"<!--.*?-->\n*", re.DOTALL)
_IMAGE: Final = re.compile(r"!\[[^]]*\]\([^)]*\)\n*")
_LINK: Final = re.compile(r"\[([^]]*)\]\(([^)]*)\)")


@click.command(cls=SectionedCommand, examples=("bulkdl help", "bulkdl help quickstart", "bulkdl help verify"))
@click.argument("topic", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
@click.pass_context
def help(ctx: click.Context, topic: str | None, *, as_json: bool) -> int:  # noqa: A001 - the name of the command
    """Print the page on TOPIC, or the list of all topics.

    TOPIC may also be the name of a command: a command without a page prints its options.
    """
    try:
        document = _document(ctx.find_root(), topic)
    except UserError as error:
        if as_json:
            print(json.dumps({"error": error.code, "message": str(error)}, indent=1))
        raise
    print(json.dumps(document, indent=1) if as_json else for_terminal(document["text"]))
    return 0


def _document(root: click.Context, topic: str | None) -> dict[str, str]:
    """The page on `topic` as the document of `--json`.

    Raises:
        UserError: there is no such topic.
    """
    name = (topic or INDEX).lower().removesuffix(".md")
    known = topics()
    if name == INDEX or name in known:
        page = read_page(name)
        return {"topic": page.topic, "title": page.title, "text": page.text}
    if isinstance(root.command, click.Group):
        if (command := root.command.get_command(root, name)) is not None:
            with click.Context(command, info_name=name, parent=root) as ctx:
                return {"topic": name, "title": f"bulkdl {name}", "text": command.get_help(ctx)}
        known += root.command.list_commands(root)
    guesses = get_close_matches(name, known, n=1)
    hint = f"did you mean {guesses[0]}?" if guesses else "bulkdl help lists all topics"
    raise UserError(f"there is no help topic {topic!r}; {hint}")


def for_terminal(text: str) -> str:
    """Markdown without what only a site needs: comments and images go, links name the page or the address."""
    return _LINK.sub(_plain_link, _IMAGE.sub("", _COMMENT.sub("", text))).rstrip("\n")


def _plain_link(link: re.Match[str]) -> str:
    text, target = link.groups()
    page, suffix, _ = target.partition(".md")
    if not suffix or "/" in page:
        return text if text == target or target.startswith("#") else f"{text} ({target})"
    return text if text.strip("`") == page else f"{text} (bulkdl help {page})"
