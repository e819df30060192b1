"""`--help` shows options under headings, the command's own first, and ends with examples."""

from __future__ import annotations

import click
import pytest

from bulkdl.cli import main
from bulkdl.cli.sections import SectionedCommand, SectionedOption


def test_options_without_a_section_come_first_and_arguments_are_not_options() -> None:
    @click.command(cls=SectionedCommand, examples=("test one",))
    @click.argument("path")
    @click.option("--later", cls=SectionedOption, section="Others", help="In a section.")
    @click.option("--first", help="Without a section.")
    def command(**_: object) -> None:
        """A command."""

    text = command.get_help(click.Context(command))
    assert text.index("Options:") < text.index("--first") < text.index("Others:") < text.index("--later")
    assert "PATH" not in text.partition("Options:")[2]
    assert text.endswith("Examples:\n  test one")


@pytest.mark.parametrize("name", main.cli.list_commands(click.Context(main.cli)))
def test_help_of_each_command_ends_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main.run([name, "--help"])
    _, _, examples = capsys.readouterr().out.partition("\nExamples:\n")
    assert examples.splitlines()
    assert all(line.startswith(f"  bulkdl {name}") for line in examples.splitlines())


def test_help_shows_options_in_their_groups(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["mirror", "--help"])
    text = capsys.readouterr().out
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert [heading.split()[0].rstrip(":") for heading in headings] == [
        "Options",
        "Selection",
        "Fetching",
        "Archive",
        "Output",
        "Examples",
    ]
