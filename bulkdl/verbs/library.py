"""The verbs as functions: blocking under their plain names, as coroutines with `_async` behind them.

A blocking function may be called anywhere, in a notebook too. Progress goes to `sink`, which is called with each event
of `bulkdl.model.events`, in the thread that does the work. Nothing is printed, and no environment is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import date
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import platformdirs

from bulkdl.errors import ManifestError, SelectionError
from bulkdl.model.access import DEFAULT_ARCHIVE, Access, ArchiveChoice, Credentials
from bulkdl.model.events import Sink, ignore
from bulkdl.model.options import several
from bulkdl.model.reports import PlanReport, RunReport, StatusReport, VerifyReport
from bulkdl.model.selection import Selection, merge_series
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs import mirror as mirroring
from bulkdl.verbs import plan as planning
from bulkdl.verbs import status as standing
from bulkdl.verbs import verify as verifying
from bulkdl.verbs.blocking import wait_for
from bulkdl.verbs.connect import Answer, Archive
from bulkdl.verbs.connect import connect as open_archive
from bulkdl.verbs.manifests import select_from

Paths: TypeAlias = str | PathLike[str]


Given: TypeAlias = str | date | bool | Paths | Iterable[str] | Iterable[Paths] | None
"""What a criterion may be given: one value or several; the values of one are alternatives, different ones narrow."""


def select(**criteria: Given) -> Selection:
    """A selection, for `mirror` and `plan`.

    Raises:
        SelectionError: nothing is selected.
        InvalidUid: a Study or Series is named by what is no UID.
        ManifestError: a manifest cannot be read.
    """
    manifests = several(criteria.pop("manifest", None) or ())
    own = Selection.from_keywords(criteria)
    selection = merge_series([own, *(_read_manifest(path) for path in manifests)])
    selection.check()
    return selection


def _read_manifest(path: Paths) -> Selection:
    try:
        return select_from(Path(path).read_bytes(), source=str(path))
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror or error}", source=str(path)) from error


def reach(
    archive: str = DEFAULT_ARCHIVE,
    *,
    api_key: str | None = None,
    username: str | None = None,
    password: str | None = None,
    proxy: str | None = None,
    ca_bundle: Paths | None = None,
    profiles: Mapping[str, str] = MappingProxyType({}),
    cache: Paths | None = None,
) -> ArchiveChoice:
    """An archive with what it takes to reach it; wherever an archive is asked for, its name or address alone will do.

    `api_key` is for TCIA v3, a login for NBIA v2 and v4; they go to this archive alone, and no message shows them.
    `profiles` maps names of your own to addresses. `cache` is where the demonstration archive is kept, the user's
    cache folder unless it is given.
    """
    return ArchiveChoice(
        name=archive,
        profiles=profiles,
        access=Access(
            proxy=proxy,
            ca_bundle=str(ca_bundle) if ca_bundle is not None else None,
            credentials=Credentials(api_key=api_key, username=username, password=password),
        ),
        cache=Path(cache) if cache is not None else platformdirs.user_cache_path("bulkdl"),
    )


def _reached(archive: str | ArchiveChoice | None) -> ArchiveChoice:
    return archive if isinstance(archive, ArchiveChoice) else reach(archive or DEFAULT_ARCHIVE)


def connect(
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE, *, sink: Sink = ignore
) -> AbstractAsyncContextManager[Archive]:
    """An archive to put questions to: `async with bulkdl.connect("tcia") as archive: …`.

    Raises:
        ConfigurationError: on entering: no such archive.
    """
    return open_archive(_reached(archive), sink=sink)


# --- mirror -----------------------------------------------------------------------------------------------------------


async def mirror_async(
    selection: Selection | None = None,
    *,
    to: Paths,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    settings: FetchSettings | None = None,
    layout: str | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
    **criteria: Given,
) -> RunReport:
    """Bring what is selected into the mirror at `to`; go on where that stopped. See `mirror`.

    When `stop` is set, the run ends within seconds, as interrupted, with all that was finished journalled.
    """
    return await mirroring.mirror(
        _selected(selection, criteria),
        Path(to),
        archive=_reached(archive),
        settings=settings,
        layout=layout,
        sink=sink,
        stop=stop,
    )


def mirror(
    selection: Selection | None = None,
    *,
    to: Paths,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    settings: FetchSettings | None = None,
    layout: str | None = None,
    sink: Sink = ignore,
    **criteria: Given,
) -> RunReport:
    """Bring what is selected into the mirror at `to`; go on where that stopped.

    What to bring is a `Selection`, or criteria: `bulkdl.mirror(collection="TCGA-GBM", modality="MR", to="gbm")`.
    `archive` is a profile, an address, or what `reach` gives. Single instances that fail are in the report, not raised.

    Raises:
        UserError: the selection, the layout or the archive's name is wrong, or nothing was found.
        ArchiveError: the archive refused, or could not be reached; what was finished is kept.
        DiskError, MirrorLocked, JournalError: the mirror cannot be used.
    """
    return wait_for(
        mirror_async(
            selection, to=to, archive=archive, settings=settings, layout=layout, sink=sink, stop=None, **criteria
        )
    )


# --- resume -----------------------------------------------------------------------------------------------------------


async def resume_async(
    mirror: Paths,
    *,
    archive: str | ArchiveChoice | None = None,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> RunReport:
    """Go on with everything that a mirror still owes. See `resume`; `stop` as in `mirror_async`."""
    return await mirroring.resume(
        Path(mirror),
        archive=_reached(archive),
        is_archive_chosen=archive is not None,
        settings=settings,
        sink=sink,
        stop=stop,
    )


def resume(
    mirror: Paths,
    *,
    archive: str | ArchiveChoice | None = None,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
) -> RunReport:
    """Go on with everything that a mirror still owes, without resolving again.

    The archive is the one of the last run, unless another that holds the same is named.

    Raises:
        As `mirror`; `JournalUnreadable` where there is no mirror.
    """
    return wait_for(resume_async(mirror, archive=archive, settings=settings, sink=sink))


# --- plan -------------------------------------------------------------------------------------------------------------


async def plan_async(
    selection: Selection | None = None,
    *,
    to: Paths | None = None,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    **criteria: Given,
) -> PlanReport:
    """Say what a mirror of the selection would take. See `plan`."""
    return await planning.plan(
        _selected(selection, criteria),
        archive=_reached(archive),
        to=Path(to) if to is not None else None,
        settings=settings,
        sink=sink,
    )


def plan(
    selection: Selection | None = None,
    *,
    to: Paths | None = None,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    **criteria: Given,
) -> PlanReport:
    """Say what a mirror of the selection would take, less what the mirror at `to` holds already. Fetches nothing.

    Raises:
        UserError: the selection or the archive's name is wrong, or nothing was found.
        ArchiveError: the archive refused, or could not be reached.
    """
    return wait_for(plan_async(selection, to=to, archive=archive, settings=settings, sink=sink, **criteria))


# --- verify and status ------------------------------------------------------------------------------------------------


async def verify_async(
    mirror: Paths,
    *,
    quick: bool = False,
    repair: bool = False,
    archive: str | ArchiveChoice | None = None,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> VerifyReport:
    """Audit every file of a mirror against its journal. See `verify`; `stop` as in `mirror_async`."""
    return await verifying.verify(
        Path(mirror),
        archive=_reached(archive),
        is_archive_chosen=archive is not None,
        quick=quick,
        repair=repair,
        settings=settings,
        sink=sink,
        stop=stop,
    )


def verify(
    mirror: Paths,
    *,
    quick: bool = False,
    repair: bool = False,
    archive: str | ArchiveChoice | None = None,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
) -> VerifyReport:
    """Audit every file of a mirror against its journal: sizes, and unless `quick` SHA-256; fetch again on `repair`.

    Raises:
        JournalError: there is no mirror, or its journal cannot be read.
        As `mirror`, when repairing.
    """
    return wait_for(verify_async(mirror, quick=quick, repair=repair, archive=archive, settings=settings, sink=sink))


def status(mirror: Paths) -> StatusReport:
    """What a mirror holds and owes, from its journal alone.

    Raises:
        JournalError: there is no mirror, or its journal cannot be read.
    """
    return standing.status(Path(mirror))


async def status_async(mirror: Paths) -> StatusReport:
    """What a mirror holds and owes. See `status`; the journal is read in a thread."""
    return await asyncio.to_thread(status, mirror)


# --- query ------------------------------------------------------------------------------------------------------------


async def query_async(
    endpoint: str, *, archive: str | ArchiveChoice = DEFAULT_ARCHIVE, sink: Sink = ignore, **criteria: Any
) -> Answer:
    """Ask one endpoint of an archive. See `query`; for more than one question, use `connect`."""
    async with connect(archive, sink=sink) as asked:
        return await asked.ask(endpoint, **criteria)


def query(
    endpoint: str, *, archive: str | ArchiveChoice = DEFAULT_ARCHIVE, sink: Sink = ignore, **criteria: Any
) -> Answer:
    """Ask one endpoint of an archive: `bulkdl.query("getSeries", collection="TCGA-GBM").to_pandas()`.

    Raises:
        ConfigurationError: no such archive, endpoint or criterion, or a required one is missing.
        ArchiveError: the archive refused, failed, or could not be reached.
    """
    return wait_for(query_async(endpoint, archive=archive, sink=sink, **criteria))


def _selected(selection: Selection | None, criteria: dict[str, Given]) -> Selection:
    if selection is not None and criteria:
        raise SelectionError(f"a selection cannot go with further criteria ({', '.join(criteria)})")
    return selection if selection is not None else select(**criteria)
