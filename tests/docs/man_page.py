"""Write the man page `bulkdl(1)` from the commands: `bulkdl/docs/bulkdl.1`, in the macros of man(7)."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import click

import bulkdl
from bulkdl import __version__
from bulkdl.cli.main import cli

MAN_PAGE: Final = Path(bulkdl.__file__).parent / "docs" / "bulkdl.1"


def man_page(commands: Iterable[tuple[click.Context, click.Command]], exit_meanings: Mapping[int, str]) -> str:
    """The whole page. Options that several commands share are explained at the first one."""
    explained: set[str] = set()
    lines = [
        f'.TH BULKDL 1 "" "bulkdl {__version__}" "User Commands"',
        ".SH NAME",
        f"bulkdl \\- {_text(_first(cli))}",
        ".SH SYNOPSIS",
        ".B bulkdl",
        "COMMAND [OPTIONS]...",
        ".SH DESCRIPTION",
        _text(
            "Each command has --help. Guides and reference: bulkdl help [TOPIC]. Options that several commands share "
            "are explained at the first of them."
        ),
        ".SH COMMANDS",
    ]
    for ctx, command in commands:
        usage = " ".join(("bulkdl", ctx.info_name or "", *command.collect_usage_pieces(ctx)))
        lines += [f".SS {_text(usage)}", *_paragraphs(command)]
        lines += _options(ctx, command, explained)
        lines += [
            line for example in getattr(command, "examples", ()) for line in (".PP", f".RS\n{_text(example)}\n.RE")
        ]
    lines += [".SH EXIT STATUS"]
    lines += [f".TP\n.B {code}\n{_text(meaning)}" for code, meaning in exit_meanings.items()]
    return "\n".join(lines) + "\n"


def _options(ctx: click.Context, command: click.Command, explained: set[str]) -> Iterator[str]:
    for param in command.params:
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None and not ({*param.opts} & explained and hasattr(param, "section")):
            explained |= {*param.opts} if hasattr(param, "section") else set()
            yield f".TP\n.B {_text(record[0])}\n{_text(record[1])}"


def _first(command: click.Command) -> str:
    return " ".join((command.help or "").partition("\n\n")[0].split()).removesuffix(".")


def _paragraphs(command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").replace("\f", "").replace("\b\n", "").split("\n\n"):
        if paragraph.startswith("  "):
            yield f".PP\n.nf\n{_verbatim(textwrap.dedent(paragraph))}\n.fi"
        else:
            yield f".PP\n{_text(' '.join(paragraph.split()))}"


def _verbatim(text: str) -> str:
    return "\n".join(map(_text, text.splitlines()))


def _text(text: str) -> str:
    """Text that is neither a request of roff nor has its escapes, in ASCII; a hyphen stays one that can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in escaped)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
