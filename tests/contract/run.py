"""Mirror a test archive in a process, to be killed: `python -m tests.contract.run KIND URL TO`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.mirror import mirror_async
from tests.contract.archives import choice
from tests.support import variants

SETTINGS = FetchSettings(
    workers=variants.WORKERS, concurrency=2, max_attempts=2, wait_scale=0.01, give_up_after_seconds=5.0
)


async def main(kind: str, url: str, to: str) -> None:
    """Mirror everything into `to`."""
    archive = choice(kind, url, Path(to).with_name("cache"))
    await mirror_async(Selection(everything=True), to=to, archive=archive, settings=SETTINGS)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
