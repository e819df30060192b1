"""`bulkdl completion`: the script that completes commands, options and choices in a shell."""

import click
from click.shell_completion import get_completion_class

from bulkdl.cli.main import COMPLETE, cli
from bulkdl.cli.sections import command


@command(
    "bulkdl completion bash >> ~/.bashrc",
    "bulkdl completion zsh >> ~/.zshrc",
    "bulkdl completion fish > ~/.config/fish/completions/bulkdl.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> int:
    """Print the script that completes commands, options and their values in a SHELL: bash (4.4 or later), zsh or fish.

    Let the shell read it when it starts, as in the examples.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all three
    print(kind(cli, {}, "bulkdl", COMPLETE).source())
    return 0
