"""On PYTHONPATH, this has every Python process below run its event loops by uvloop: the command and its workers.

Where LOOPS_NOTED_IN names a file, each process writes there which module it is and of what kind its loop.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import uvloop


class Policy(uvloop.EventLoopPolicy):  # type: ignore[misc] # uvloop gives it no type before Python 3.14
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = super().new_event_loop()
        if path := os.environ.get("LOOPS_NOTED_IN"):
            with Path(path).open("a") as notes:
                notes.write(f"{sys.orig_argv[2]} {type(loop).__module__}\n")
        return loop


asyncio.set_event_loop_policy(Policy())
