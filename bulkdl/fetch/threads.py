"""Threads for calls that block: syncs, renames, large hashes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

# A disk answers many syncs at once hardly slower than one.
_THREADS: Final = 8


class Threads(ThreadPoolExecutor):
    """The threads of one worker, in which it runs calls that block."""

    def __init__(self) -> None:
        super().__init__(_THREADS, thread_name_prefix="bulkdl-disk")

    async def __call__(self, call: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Run `call` in a thread, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self, call, *arguments)
