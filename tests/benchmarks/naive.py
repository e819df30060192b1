"""The loop that everybody writes first: gather, a semaphore, read, write. `naive.py URLS OUT IN_FLIGHT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp


async def main(urls: list[str], out: Path, in_flight: int) -> None:
    permits = asyncio.Semaphore(in_flight)
    async with aiohttp.ClientSession() as session:

        async def one(url: str, path: str) -> None:
            async with permits, session.get(url) as response:
                response.raise_for_status()
                content = await response.read()
            target = out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

        await asyncio.gather(*(one(*line.split()) for line in urls))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_text().splitlines(), Path(sys.argv[2]), int(sys.argv[3])))
