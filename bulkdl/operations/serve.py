"""`serve`: mirrors, folders of DICOM files or the demonstration collections, through the archives' own APIs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bulkdl.errors import ConfigurationError
from bulkdl.server.app import AccessRecord
from bulkdl.server.app import serving as serve_catalog
from bulkdl.server.catalog import Catalog, Root, ScanReport
from bulkdl.server.demo import demo_catalog


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its base address, for `--archive`, and what it found to serve."""

    url: str
    report: ScanReport


@asynccontextmanager
async def serving(
    paths: Sequence[Path],
    *,
    cache: Path,
    demo: bool = False,
    collection: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    access_log: Callable[[AccessRecord], None] | None = None,
) -> AsyncIterator[Served]:
    """Serve `paths`, or the demonstration collections, for as long as the block lasts. Port 0 picks a free one.

    The catalogue is kept below `cache`, outside what is served, and only what changed is read again.

    Raises:
        ConfigurationError: a path is not there, or the address cannot be used.
        DiskError: the catalogue cannot be written.
    """
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"{path} is not there: nothing can be served from it")
    catalog, report = await asyncio.to_thread(_catalogue, [path.resolve() for path in paths], cache, demo, collection)
    try:
        async with serve_catalog(catalog, host=host, port=port, access_log=access_log) as url:
            yield Served(url, report)
    finally:
        catalog.close()


def _catalogue(paths: list[Path], cache: Path, demo: bool, collection: str | None) -> tuple[Catalog, ScanReport]:  # noqa: FBT001 - called in a thread, by position
    if demo:
        return demo_catalog(cache)
    named = "\n".join([*map(str, paths), collection or ""])
    folder = cache / "catalogues"
    folder.mkdir(parents=True, exist_ok=True)
    catalog = Catalog.open(folder / f"{hashlib.sha256(named.encode()).hexdigest()[:24]}.sqlite")
    return catalog, catalog.scan([Root(path) for path in paths], collection=collection)
