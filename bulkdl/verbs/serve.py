"""`serve`: mirrors, folders of DICOM files or the demonstration collections, through the archives' own APIs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bulkdl.errors import ConfigurationError
from bulkdl.server.access import AccessRules, read_keys, read_users
from bulkdl.server.app import AccessRecord
from bulkdl.server.app import serving as serve_catalog
from bulkdl.server.catalogue import Catalog, Root, ScanReport
from bulkdl.server.demo.catalogue import demo_catalog
from bulkdl.server.nbia.quirks import Quirk


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its base address, for `--archive`, and what it found to serve.

    `unmatched` are restricted Collections, in upper case, that it does not hold: a misspelt name restricts nothing.
    """

    url: str
    report: ScanReport
    unmatched: tuple[str, ...] = ()


def read_rules(*, api_key_file: Path | None = None, users_file: Path | None = None) -> AccessRules:
    """Who may see what, as files tell it; without any, everybody sees everything.

    Raises:
        ConfigurationError: a file cannot be read, or is not what it should be.
    """
    keys = read_keys(_text(api_key_file), source=str(api_key_file)) if api_key_file is not None else frozenset[str]()
    if users_file is None:
        return AccessRules(keys=keys)
    return read_users(_text(users_file), source=str(users_file), keys=keys)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"{path} cannot be read: {reason}") from None  # an error of decoding quotes the file


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
    rules: AccessRules | None = None,
    quirks: frozenset[Quirk] = frozenset(),
) -> AsyncIterator[Served]:
    """Serve `paths`, or the demonstration collections, for as long as the block lasts. Port 0 picks a free one.

    The catalogue is kept below `cache`, outside what is served, and only what changed is read again. `rules` say who
    may see what; `quirks` are habits of real archives that are off otherwise.

    Raises:
        ConfigurationError: a path is not there, or the address cannot be used.
        DiskError: the catalogue cannot be written.
    """
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"{path} is not there: nothing can be served from it")
    catalog, report = await asyncio.to_thread(_catalogue, [path.resolve() for path in paths], cache, demo, collection)
    try:
        async with serve_catalog(
            catalog, host=host, port=port, access_log=access_log, rules=rules, quirks=quirks
        ) as url:
            held = {name.upper() for name in await asyncio.to_thread(catalog.collections)}
            yield Served(url, report, tuple(sorted((rules or AccessRules()).restricted - held)))
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
