"""`serve`: mirrors, folders of DICOM files or the demonstration collections, through the APIs of the archives."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final, TypedDict, Unpack
from urllib.parse import urljoin

from bulkdl.archive.connect import capabilities
from bulkdl.errors import ConfigurationError
from bulkdl.journal.journal import Journal
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import RunContext, Sink, ignore
from bulkdl.model.options import Option
from bulkdl.model.quantities import parse_size
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.disk import JOURNAL
from bulkdl.server.access import AccessRules, read_keys, read_users
from bulkdl.server.app import AccessRecord, make_app, serving
from bulkdl.server.catalogue import Catalogue, Root, ScanReport
from bulkdl.server.cross_origin import read_origins, with_origins
from bulkdl.server.demo.catalogue import PHANTOM_COLLECTION, demo_catalogue, demo_slides
from bulkdl.server.nbia.quirks import read_quirks
from bulkdl.server.passwords import hash_password
from bulkdl.server.pathdb.slides import ServedSlides
from bulkdl.server.reception import Reception
from bulkdl.server.supply import Supply
from bulkdl.server.tls import read_certificate
from bulkdl.verbs.calls.blocking import blocking_block
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.connections.endpoints import profile_of
from bulkdl.verbs.connections.reach import cache_folder, choose_archive, read_text
from bulkdl.verbs.mirrors.folders import require_settled
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from bulkdl.verbs.serving.accepted_stores import check_store_options
from bulkdl.verbs.serving.mirror_changes import following, journal_states

__all__ = ["AccessRecord", "ServeOptions", "Served", "serve", "serve_async"]


_LAST_PORT: Final = 65_535
_HOST: Final = "127.0.0.1"


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
        raise ValueError(f"{text!r} is not a port number (0 to {_LAST_PORT})")
    return int(text)


class ServeOptions(TypedDict, total=False):
    """The options of `serve`. `access_log` is called after each request, `sink` with what happens to the archive.

    `settings` are those of downloads from an `archive`: the defaults try less often than those of `mirror`.

    Without an `archive`, `cache` is the folder of the catalogues.
    """

    demo: Annotated[bool, Option("demo", "Serve the demonstration collections.")]
    host: Annotated[str, Option("host", "The address to listen on.", shown_default="127.0.0.1")]
    port: Annotated[int, Option("port", "0 uses a free port.", read=_parse_port, shown_default="8080")]
    allowed_host: Annotated[
        tuple[str, ...], Option("allowed_host", "Another name that the server is reached by; may be repeated.", "NAME")
    ]
    allow_origin: Annotated[
        tuple[str, ...],
        Option("allow_origin", "A web site whose pages may read the answers, or * for all; may be repeated.", "ORIGIN"),
    ]
    collection: Annotated[
        str | None, Option("collection", "The collection of files that name none and are in no folder.", "NAME")
    ]
    api_key_file: Annotated[
        Paths | None, Option("api_key_file", "API keys for TCIA v3, one per line.", "FILE", read=Path)
    ]
    users_file: Annotated[
        Paths | None,
        Option(
            "users_file",
            "TOML: users, and the restricted collections that only some of them may see.",
            "FILE",
            read=Path,
        ),
    ]
    tls_cert: Annotated[
        Paths | None, Option("tls_cert", "Serve by https, with this certificate (PEM).", "FILE", read=Path)
    ]
    tls_key: Annotated[Paths | None, Option("tls_key", "Its private key, if it is in another file.", "FILE", read=Path)]
    quirks: Annotated[
        str | None,
        Option("quirks", "Imitate behaviour of the real archives that makes clients lose data.", "NAME,NAME"),
    ]
    cache: Annotated[
        Paths | None, Option("cache", "With --archive: keep what was downloaded in this mirror.", "DIR", read=Path)
    ]
    cache_size: Annotated[
        int | None,
        Option(
            "cache_size", "Beyond this size, remove the series that were used least recently.", "SIZE", read=parse_size
        ),
    ]
    accept_store: Annotated[
        bool, Option("accept_store", "Take instances that clients store (STOW-RS) into the one mirror at PATH.")
    ]
    archive: str | ArchiveChoice | None
    settings: FetchSettings
    access_log: Callable[[AccessRecord], None] | None
    sink: Sink


def hashed_password(password: str) -> str:
    """The hash of a password, with a random salt, for a users file."""
    return hash_password(password)


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its base address, for `--archive`, and what it serves.

    `stores_at` is the address where clients may store instances, None if they may not.

    `unmatched` are restricted Collections, in upper case, that it does not have: a misspelt name restricts nothing.
    `missing` says what the demonstration lacks, and how to install it.
    """

    url: str
    report: ScanReport
    unmatched: tuple[str, ...] = ()
    missing: str | None = None
    stores_at: str | None = None


@asynccontextmanager
async def serve_async(*paths: Paths, **options: Unpack[ServeOptions]) -> AsyncIterator[Served]:
    """Serve mirrors, folders of DICOM files, or the demonstration collections, until the block ends.

    Port 0, the default here, uses a free port. The catalogue is kept below `cache`, outside the served folders, and
    only files that changed are read again. With an `archive`, all of that archive is served, and what is asked for is
    downloaded into the mirror at `cache`. With `accept_store`, the one path is a mirror, or a folder that is empty or
    new and becomes one; instances that clients store get into it, and no other process can work on it.

    Raises:
        ConfigurationError: a path does not exist, a file cannot be read, or the address cannot be used.
        DiskError: the catalogue cannot be written.
        ArchiveError, MirrorLocked, JournalError: the cache of an archive cannot be opened.
    """
    roots = [Path(path) for path in paths]
    accepts = options.get("accept_store", False)
    rules = read_rules(options.get("api_key_file"), options.get("users_file"))
    if accepts:
        origins, is_of_archive = options.get("allow_origin", ()), _is_of_archive(options)
        host = options.get("host", _HOST)
        await asyncio.to_thread(check_store_options, roots, host, rules, origins=origins, is_of_archive=is_of_archive)
    for root in roots if not accepts else ():
        if not root.exists():
            raise ConfigurationError(f"{root} does not exist, so it cannot be served")
        if (root / JOURNAL).is_file():
            with Journal.open_readonly(root / JOURNAL) as journal:
                require_settled(root, journal)
    names = options.get("quirks")
    quirks = read_quirks(names.split(",") if names is not None else ())
    slides = await asyncio.to_thread(_slides, roots, options)
    folders = [root.resolve() for root in roots]
    states = await asyncio.to_thread(journal_states, folders)  # before they are scanned
    tls = await asyncio.to_thread(_tls, options.get("tls_cert"), options.get("tls_key"))
    allowed = read_origins(options.get("allow_origin", ()))
    changed = asyncio.Event()
    async with (
        _reception(roots[0], options, changed) if accepts else nullcontext() as reception,
        _opened(roots, options) as (catalogue, report, supply),
        serving(
            with_origins(
                make_app(
                    catalogue,
                    rules=rules,
                    quirks=quirks,
                    supply=supply,
                    slides=slides,
                    mirrors=_mirrors(roots, options),
                    reception=reception,
                ),
                allowed,
            ),
            host=options.get("host", _HOST),
            port=options.get("port", 0),
            hosts=options.get("allowed_host", ()),
            access_log=options.get("access_log"),
            tls=tls,
        ) as url,
        following(
            folders,
            states,
            partial(_scan_again, catalogue, slides, folders, options.get("collection")),
            options.get("sink", ignore),
            changed=changed,
        ),
    ):
        held = {name.upper() for name in await asyncio.to_thread(catalogue.collections)}
        missing = None
        if options.get("demo") and PHANTOM_COLLECTION not in held:
            missing = f"{PHANTOM_COLLECTION} is not served, because it needs numpy: pip install 'bulkdl[demo]'"
        stores_at = urljoin(url, "/dicom-web/studies") if accepts else None
        yield Served(url, report, tuple(sorted(rules.restricted - held)), missing, stores_at)


serve = blocking_block(serve_async)


def _is_of_archive(options: ServeOptions) -> bool:
    return bool(options.get("demo")) or options.get("archive") is not None


@asynccontextmanager
async def _reception(root: Path, options: ServeOptions, changed: asyncio.Event) -> AsyncIterator[Reception]:
    """The mirror that takes instances, which this process has locked. Raises MirrorLocked, DiskError, JournalError."""
    from bulkdl.verbs.adoption.reception import open_reception  # noqa: PLC0415 - late: few servers take any

    async with (
        open_mirror(root, "serve") as mirror,
        open_reception(mirror, options.get("collection"), changed) as reception,
    ):
        yield reception


def _mirrors(roots: list[Path], options: ServeOptions) -> list[Path]:
    """The mirrors among what is served, and that of a cache."""
    cache = options.get("cache") if options.get("archive") is not None else None
    return [root for root in (*roots, *([Path(cache)] if cache is not None else ())) if (root / JOURNAL).is_file()]


@asynccontextmanager
async def _opened(
    roots: list[Path], options: ServeOptions
) -> AsyncIterator[tuple[Catalogue, ScanReport, Supply | None]]:
    """The catalogue of what is served, with the report of its scan; and the cache of an archive, if it is one."""
    cache, archive = options.get("cache"), options.get("archive")
    if archive is not None:
        if cache is None:
            raise ConfigurationError("a cache of an archive needs a folder: name it with --cache")
        choice = choose_archive(archive)
        if capabilities(profile_of(choice)).slides:
            raise ConfigurationError("slides are not served through a cache: mirror them, and serve the mirror")
        from bulkdl.verbs.serving.gateway import SETTINGS, open_gateway  # noqa: PLC0415 - late: only a cache downloads

        context = RunContext(options.get("settings", SETTINGS), options.get("sink", ignore))
        limit = options.get("cache_size")
        async with open_gateway(choice, Path(cache), context, most_bytes=limit) as gateway:
            totals = await asyncio.to_thread(gateway.held.catalogue.totals)
            yield gateway.held.catalogue, ScanReport(totals=totals), gateway
        return
    folder = Path(cache or cache_folder())
    if options.get("demo"):
        catalogue, report = await asyncio.to_thread(demo_catalogue, folder)
    else:
        found = [root.resolve() for root in roots]
        catalogue, report = await asyncio.to_thread(_catalogue, found, folder, options.get("collection"))
    try:
        yield catalogue, report, None
    finally:
        catalogue.close()


def _slides(roots: list[Path], options: ServeOptions) -> ServedSlides:
    """The slides of the demonstration, or of the served mirrors."""
    if options.get("demo"):
        return ServedSlides(given=demo_slides(Path(options.get("cache") or cache_folder())))
    return ServedSlides(mirrors=[root.resolve() for root in roots if (root / JOURNAL).is_file()])


def _tls(certificate: Paths | None, key: Paths | None) -> ssl.SSLContext | None:
    if certificate is not None:
        return read_certificate(Path(certificate), Path(key) if key is not None else None)
    if key is not None:
        raise ConfigurationError("a private key needs its certificate: name it with --tls-cert")
    return None


def read_rules(api_key_file: Paths | None, users_file: Paths | None) -> AccessRules:
    """The access rules of the two files; without files, everything is visible to everyone."""
    keys = frozenset[str]()
    if api_key_file is not None:
        keys = read_keys(read_text(api_key_file), source=str(api_key_file))
    if users_file is None:
        return AccessRules(keys=keys)
    return read_users(read_text(users_file), source=str(users_file), keys=keys)


def _scan_again(
    catalogue: Catalogue,
    slides: ServedSlides,
    folders: list[Path],
    collection: str | None,
    progress: Callable[[int], None],
) -> None:
    catalogue.scan([Root(folder) for folder in folders], collection=collection, progress=progress)
    slides.forget()


def _catalogue(paths: list[Path], cache: Path, collection: str | None) -> tuple[Catalogue, ScanReport]:
    named = "\n".join([*map(str, paths), collection or ""])
    folder = cache / "catalogues"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # for the index of the bucket and the shared lists, which lie beside the catalogue, too
    path = folder / f"{hashlib.sha256(named.encode()).hexdigest()[:24]}.sqlite"
    path.touch(mode=0o600)  # it names patients, perhaps those of a private mirror
    path.chmod(0o600)
    catalogue = Catalogue.open(path)
    return catalogue, catalogue.scan([Root(path) for path in paths], collection=collection)
