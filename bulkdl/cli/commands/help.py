"""`bulkdl help`: print a page of the documentation.

Imports neither the archive client nor the options of other commands, so that it starts quickly and needs no network.
"""

import json
import shutil
from typing import Final

import click

from bulkdl.cli.markdown import to_text
from bulkdl.cli.sections import command, json_option
from bulkdl.docs import INDEX, read_page, topics
from bulkdl.errors import UserError
from bulkdl.model.text import did_you_mean

_WIDEST: Final = 100


@command("bulkdl help", "bulkdl help quickstart", "bulkdl help verify")
@click.argument("topic", required=False)
@json_option
@click.pass_context
def help(ctx: click.Context, topic: str | None, *, as_json: bool) -> int:  # noqa: A001 - the name of the command
    """Print the page on TOPIC, or the list of all topics.

    TOPIC may also be the name of a command: a command without a page prints its options.
    """
    document = _document(ctx.find_root(), topic)
    text = document["text"]
    if text.startswith("# "):  # a page; the options of a command are laid out already
        text = to_text(text, width=min(shutil.get_terminal_size().columns, _WIDEST))
    print(json.dumps(document, indent=1) if as_json else text)
    return 0


def _document(root: click.Context, topic: str | None) -> dict[str, str]:
    name = (topic or INDEX).lower().removesuffix(".md")
    known = topics()
    if name == INDEX or name in known:
        page = read_page(name)
        return {"topic": page.topic, "title": page.title, "text": page.text}
    if isinstance(root.command, click.Group):
        if (found := root.command.get_command(root, name)) is not None:
            with click.Context(found, info_name=name, parent=root) as ctx:
                return {"topic": name, "title": f"bulkdl {name}", "text": found.get_help(ctx)}
        known += root.command.list_commands(root)
    hint = did_you_mean(name, known, otherwise="; bulkdl help lists all topics")
    raise UserError(f"there is no help topic {topic!r}{hint}")
