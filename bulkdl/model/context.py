"""What the parts of one run share."""

import asyncio
from dataclasses import dataclass, field

from bulkdl.model.events import Sink, ignore
from bulkdl.model.settings import FetchSettings


@dataclass(frozen=True, slots=True)
class RunContext:
    """The settings of a run, the sink of its events, and the event that stops it once it is set."""

    settings: FetchSettings = field(default_factory=FetchSettings)
    sink: Sink = ignore
    stop: asyncio.Event = field(default_factory=asyncio.Event)
