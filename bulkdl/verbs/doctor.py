"""`doctor`: what a report of a problem needs: versions, extras, decoders, cache, disk, network. It changes nothing."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import locale
import os
import platform
import re
import ssl
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from bulkdl._version import __version__
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.dicom.decoders import find_decoders
from bulkdl.errors import BulkdlError
from bulkdl.journal.connection import SQLITE_VERSION
from bulkdl.model.access import DEFAULT_ARCHIVE, IDC, ArchiveChoice
from bulkdl.model.events import RunContext, ignore
from bulkdl.model.options import Option
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.doctor import Check, CheckState, DoctorReport
from bulkdl.model.settings import FetchSettings
from bulkdl.model.text import error_text
from bulkdl.runtime.cores import usable_cores
from bulkdl.store.space import measure
from bulkdl.verbs.archives import CheckOutcome, archives_async
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.connections.open_archive import open_archive
from bulkdl.verbs.connections.reach import choose_archive, reach

_PACKAGE: Final = "bulkdl"
_REQUIREMENT: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)[^;]*(?:;.*\bextra\s*==\s*['\"](?P<extra>[\w-]+)['\"])?")
_LOW_BYTES: Final = 1 << 30
_FEW_FILES: Final = 256  # that a process may have open; more make a run of many connections safe


async def doctor_async(
    folder: Paths = ".",
    *,
    offline: Annotated[bool, Option("offline", "Send no request.")] = False,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    further: Sequence[Check] = (),
) -> DoctorReport:
    """Check this installation, the disk at `folder`, and unless `offline` the connection to the archive.

    `further` are checks of the caller, which the report has, too: of its configuration, for example.
    """
    choice = choose_archive(archive)
    checks = [*await asyncio.to_thread(_local, Path(folder), choice.cache), await _index(choice), *further]
    if not offline:
        checks += await _network(choice)
    return DoctorReport(tuple(checks))


doctor = blocking(doctor_async)


def _local(folder: Path, cache: Path | None) -> list[Check]:
    checks = [*_versions(), *_packages()]
    for name, attempt in (("decoders", _decoders), ("disk", lambda: _disk(folder)), ("cache", lambda: _cache(cache))):
        checks += _tried(name, attempt)
    return checks


def _tried(group: str, attempt: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The checks of a group; one that fails in another way than it foresees is a failed check, and no traceback."""
    try:
        yield from attempt()
    except Exception as error:  # noqa: BLE001 - whatever is broken here is what the user wants to know
        yield Check(group, group, error_text(error), CheckState.FAILED)


def _versions() -> Iterator[Check]:
    yield Check("versions", "bulkdl", __version__)
    bits = "64" if sys.maxsize > 1 << 32 else "32"
    yield Check("versions", "Python", f"{platform.python_version()} ({platform.python_implementation()}, {bits} bits)")
    yield Check("versions", "system", platform.platform())
    yield Check("versions", "processors", str(usable_cores()))
    yield Check(
        "versions", "encoding", f"{locale.getpreferredencoding(do_setlocale=False)}, {sys.getfilesystemencoding()}"
    )
    yield Check("versions", "SQLite", SQLITE_VERSION)
    yield Check("versions", "TLS", ssl.OPENSSL_VERSION)


def _packages() -> Iterator[Check]:
    """The packages that bulkdl needs, and its extras, by its own metadata."""
    by_extra: defaultdict[str, list[str]] = defaultdict(list)
    for requirement in importlib.metadata.requires(_PACKAGE) or ():
        if (found := _REQUIREMENT.match(requirement)) is not None:
            by_extra[found["extra"] or ""].append(found["name"])
    for name in by_extra.pop("", []):
        version = _version(name)
        state = CheckState.FAILED if version is None else CheckState.OK
        yield Check("packages", name, version or "not installed: pip install --force-reinstall bulkdl", state)
    for extra, names in sorted(by_extra.items()):
        missing = [name for name in names if _version(name) is None]
        if missing:
            text = f"{', '.join(missing)} not installed: pip install 'bulkdl[{extra}]'"
            yield Check("extras", extra, text, CheckState.MISSING)
        else:
            yield Check("extras", extra, ", ".join(f"{name} {_version(name)}" for name in names))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _decoders() -> Iterator[Check]:
    if importlib.util.find_spec("numpy") is None:
        text = "numpy is not installed: pip install 'bulkdl[pixels]'"
        yield Check("decoders", "all transfer syntaxes", text, CheckState.MISSING)
        return
    for syntax, plugins in find_decoders().items():
        text = ", ".join(plugins) or "no decoder: pip install 'bulkdl[pixels]'"
        yield Check("decoders", syntax, text, CheckState.OK if plugins else CheckState.MISSING)


def _disk(folder: Path) -> Iterator[Check]:
    space = measure(folder)
    state = CheckState.OK if space.free_bytes > _LOW_BYTES else CheckState.FAILED
    inodes = "" if space.free_inodes is None else f", {space.free_inodes:,} files"
    yield Check("disk", "free", f"{human_bytes(space.free_bytes)}{inodes} at {folder.resolve()}", state)
    is_writable = os.access(folder, os.W_OK)
    text = "yes" if is_writable else f"no: this user cannot write to {folder.resolve()}"
    yield Check("disk", "writable", text, CheckState.OK if is_writable else CheckState.FAILED)
    if (files := _open_files()) is not None:
        few = files < _FEW_FILES
        text = f"{files:,}{'; raise it with: ulimit -n 4096' if few else ''}"
        yield Check("disk", "open files allowed", text, CheckState.FAILED if few else CheckState.OK)


def _open_files() -> int | None:
    """How many files a process may have open; None where there is no such limit."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _cache(cache: Path | None) -> Iterator[Check]:
    if cache is None or not cache.is_dir():
        yield Check("cache", "folder", f"{cache}: not made yet")
        return
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    yield Check("cache", "folder", f"{cache}: {human_bytes(size)}")


async def _index(choice: ArchiveChoice) -> Check:
    """The release of the index of IDC that is here, without a request."""
    here = reach(IDC, cache=choice.cache, idc_index=choice.idc_index)
    try:
        async with open_archive(here, RunContext(FetchSettings(), ignore)) as opened:
            client = opened.client
            if isinstance(client, IdcArchive) and await client.has_index():
                release = (await client.catalogue()).release.described(datetime.now(UTC).date())
                return Check("cache", "index of IDC", release)
    except BulkdlError as error:
        return Check("cache", "index of IDC", str(error), CheckState.FAILED)
    text = "not here: it is downloaded when it is needed; or pip install 'bulkdl[idc]'"
    return Check("cache", "index of IDC", text, CheckState.MISSING)


async def _network(choice: ArchiveChoice) -> list[Check]:
    states = {CheckOutcome.OK: CheckState.OK, CheckOutcome.FAILED: CheckState.FAILED}
    try:
        (report,) = await archives_async(choice)
    except BulkdlError as error:
        return [Check("network", choice.name, str(error), CheckState.FAILED)]
    return [
        Check("network", f"{report.name}: {result.check}", result.message or result.outcome, states[result.outcome])
        for result in report.results
        if result.outcome in states
    ]
