"""The signature of a verb declares its options once: for the command, for `help()` and for notebooks."""

from __future__ import annotations

import inspect
from typing import Annotated, TypedDict, Unpack

import click
import pytest

import bulkdl
from bulkdl.cli.options import verb_options
from bulkdl.model.options import Option
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import options_of_verb


class MadeUpOptions(TypedDict, total=False):
    """The options of the verb below."""

    loud: Annotated[bool, Option(keyword="loud", help="Be loud.")]
    times: Annotated[int, Option(keyword="times", metavar="N", help="Repeat.", read=int, shown_default="2")]
    stop: object


async def shout_async(
    text: str, *, to: Annotated[str, Option(keyword="to", help="Whom.")], **options: Unpack[MadeUpOptions]
) -> str:
    """Shout."""
    return f"{to}: {text * options.get('times', 1)}{'!' if options.get('loud') else ''}"


shout = blocking(shout_async)


def test_the_command_has_the_options_of_the_verb() -> None:
    @click.command
    @verb_options(shout_async)
    def command(**values: object) -> object:
        return values["options"]

    def run(*words: str) -> object:
        with command.make_context("test", list(words)) as ctx:
            return command.invoke(ctx)

    assert run("--to", "you", "--loud", "--times", "3") == {"to": "you", "loud": True, "times": 3}
    assert run("--to", "you") == {"to": "you", "loud": False, "times": 2}
    with pytest.raises(click.MissingParameter):
        run()


def test_the_blocking_twin_has_the_options_of_the_verb() -> None:
    assert shout("hey", to="you", loud=True, times=2) == "you: heyhey!"
    assert (shout.__name__, shout.__doc__) == ("shout", "Shout.")
    assert list(inspect.signature(shout).parameters) == ["text", "to", "loud", "times", "stop"]


@pytest.mark.parametrize("verb", [bulkdl.mirror, bulkdl.mirror_async, bulkdl.plan, bulkdl.select])
def test_help_names_every_criterion(verb: object) -> None:
    assert callable(verb)
    assert {"collection", "patient", "body_part", "since", "manifest", "everything"} <= set(
        inspect.signature(verb).parameters
    )


def test_verify_has_the_options_of_the_command() -> None:
    names = {"against", "from_start", "layout", "quick", "remote", "repair"}
    assert options_of_verb(bulkdl.verify_async).keys() == names
