"""On PYTHONPATH, this has every Python process below run its event loops by uvloop: the command and its workers."""

from __future__ import annotations

import asyncio

import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
