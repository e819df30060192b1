"""How `--help` is laid out: options under headings, examples at the end. Light to import."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import click

JSON_HELP: Final = "Print one JSON document on standard output."
json_option: Final = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)


class SectionedOption(click.Option):
    """An option that `--help` shows under a heading."""

    def __init__(self, *args: Any, section: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section


class _WithExamples(click.Command):
    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"{'':>{formatter.current_indent}}{example}\n" for example in self.examples))


class GroupWithExamples(_WithExamples, click.Group):
    """A group of commands whose `--help` ends with examples."""


class SectionedCommand(_WithExamples):
    """A command whose `--help` shows its options under their headings, its own first, and ends with examples."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def command(*examples: str) -> Callable[[Callable[..., Any]], SectionedCommand]:
    """A decorator that makes a command of a function; `--help` ends with `examples`."""
    return click.command(cls=SectionedCommand, examples=examples)
