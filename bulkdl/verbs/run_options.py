"""The options that verbs share, and the context made of them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final, TypeAlias, TypedDict

from bulkdl.model.access import ArchiveChoice
from bulkdl.model.context import RunContext
from bulkdl.model.events import Sink, ignore
from bulkdl.model.options import Option
from bulkdl.model.settings import FetchSettings

FAILURES_NAMED: Final = 1_000
"""How many failures a report names; the journal has all of them."""

NewLayout: TypeAlias = Annotated[
    str | None, Option("layout", "The layout of the files in a new mirror.", "TEMPLATE|NAME")
]


class RunOptions(TypedDict, total=False):
    """What every verb on an existing mirror takes.

    `archive` is that of the mirror's last run unless it is given. `sink` receives the events, in the thread that works.
    When `stop` is set, the verb ends within seconds.
    """

    archive: str | ArchiveChoice | None
    settings: FetchSettings | None
    sink: Sink
    stop: asyncio.Event | None


def make_context(settings: FetchSettings | None, sink: Sink, stop: asyncio.Event | None) -> RunContext:
    """The context of a run, with defaults for what was not given."""
    return RunContext(settings or FetchSettings(), sink, stop or asyncio.Event())


def context_of(options: RunOptions) -> RunContext:
    """The context that the options of a verb describe."""
    return make_context(options.get("settings"), options.get("sink", ignore), options.get("stop"))
