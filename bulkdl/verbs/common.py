"""What the verbs share: their common options, an archive and a mirror opened for work, a clock."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeAlias, TypedDict
from urllib.parse import urljoin

from bulkdl.archive.base import Archive
from bulkdl.archive.connect import connect
from bulkdl.archive.profiles import Profile, find_profile
from bulkdl.dicom.without_numpy import require_decoders
from bulkdl.errors import SelectionError
from bulkdl.fetch.shares import Share
from bulkdl.fetch.worker import DEFAULT_CEILING, WorkerSettings, make_retrier
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import SelectionRow
from bulkdl.journal.thread import JournalThread, open_journal_thread
from bulkdl.model.access import DEMO_IDC, DEMO_PATHDB, DEMOS, ArchiveChoice
from bulkdl.model.completed_series import parse_command
from bulkdl.model.events import Noted, RunContext, Sink, ignore
from bulkdl.model.formatting import command
from bulkdl.model.options import Option, as_words
from bulkdl.model.quantities import parse_count, parse_duration
from bulkdl.model.records import Series
from bulkdl.model.reports.base import Failure
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings, ValidationLevel, go_on_with
from bulkdl.resolve.resolution import Resolution, explain_nothing
from bulkdl.runtime.disk import shortage_errors
from bulkdl.slides.container import require_tifffile
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import DEFAULT_LAYOUT, FORMER_LAYOUTS, Layout, layout_name, parse_layout
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.verbs.connections.data_commons import read_headers, with_key
from bulkdl.verbs.mirrors.folders import refuse_inside_mirror, require_mirror
from bulkdl.verbs.mirrors.moves import Moves

FIRST_ANSWER_SECONDS: Final = 25.0
"""How long `plan` and `query` wait for an archive that has never answered."""
FAILURES_NAMED: Final = 1_000
"""How many failures a report names; the journal has all of them."""

NewLayout: TypeAlias = Annotated[
    str | None, Option("layout", "The layout of the files in a new mirror; a mirror keeps its layout.", "TEMPLATE|NAME")
]


# It is not kept for `resume` and `sync`: a mirror that somebody else has made must not make them run a command.
OnSeries: TypeAlias = Annotated[
    str | Sequence[str] | None,
    Option(
        "on_series",
        "Run COMMAND, without a shell, for each series that this run completes; its standard input is JSON about it.",
        "COMMAND",
        read=parse_command,
    ),
]
OnSeriesAtOnce: TypeAlias = Annotated[
    int | None,
    Option("on_series_at_once", "The most commands of --on-series at a time; the default is 2.", "N", read=parse_count),
]
OnSeriesTimeout: TypeAlias = Annotated[
    float | None,
    Option(
        "on_series_timeout",
        "End a command of --on-series after this long, as failed; the default is 1h.",
        "DURATION",
        read=parse_duration,
    ),
]


class RunOptions(TypedDict, total=False):
    """What every verb on an existing mirror takes.

    `archive` is that of the mirror's last run unless it is given. `given` names the fields of `settings` that count,
    all if it is left out; the others are those of its last `mirror` run. `sink` receives the events, in the thread that
    works. When `stop` is set, the verb ends within seconds.
    """

    archive: str | ArchiveChoice | None
    settings: FetchSettings | None
    given: Collection[str]
    sink: Sink
    stop: asyncio.Event | None


class DownloadOptions(RunOptions, total=False):
    """What every verb on an existing mirror takes that downloads what it owes."""

    on_series: OnSeries
    on_series_at_once: OnSeriesAtOnce
    on_series_timeout: OnSeriesTimeout


def context_of(options: RunOptions) -> RunContext:
    """The context that the options of a verb describe. Raises ConfigurationError: they need what is not installed."""
    settings, stop = options.get("settings") or FetchSettings(), options.get("stop") or asyncio.Event()
    if settings.validation is ValidationLevel.PIXELS:
        require_decoders()
    return RunContext(settings, options.get("sink", ignore), stop)


def with_command(context: RunContext, options: DownloadOptions) -> RunContext:
    """The context, with the command of `options` for each Series that the run completes, if there is one.

    Raises:
        ConfigurationError: it is not a command, or does not exist.
    """
    if (command := options.get("on_series")) is None:
        return context
    from bulkdl.verbs.runs.series_commands import (  # noqa: PLC0415 - late: most runs are without
        SeriesCommandOptions,
        on_series_handler,
    )

    chosen = SeriesCommandOptions(command, options.get("on_series_at_once"), options.get("on_series_timeout"))
    handler = on_series_handler(chosen, stop=context.stop, sink=context.sink)
    return replace(context, completed=handler)


def kept_context(root: Path, options: RunOptions) -> RunContext:
    """The context of a verb that goes on with the options of the mirror's last `mirror` run, and says so. Blocking."""
    context = context_of(options)
    is_whole = options.get("settings") is not None and "given" not in options
    with Journal.open_readonly(require_mirror(root)) as journal:
        last = journal.last_settings("mirror")
    if last is None or is_whole:
        return context
    settings, names = go_on_with(last[1], context.settings, options.get("given", ()))
    if names:
        context.sink(Noted(f"as in run {last[0]}: {', '.join(as_words(settings, names))}"))
    if settings.validation is ValidationLevel.PIXELS:
        require_decoders()
    return replace(context, settings=settings)


@asynccontextmanager
async def find_archive(choice: ArchiveChoice) -> AsyncIterator[Profile]:
    """The profile of the chosen archive. The demonstration archive is started, and runs until the block ends."""
    if choice.name not in DEMOS:
        profile = find_profile(choice.name, choice.profiles, forms=choice.forms)
        yield profile.using(index=choice.idc_index, cache=choice.cache, route=choice.route)
        return
    from bulkdl.verbs.serve import serve_async  # noqa: PLC0415 - late: only the demonstration needs a server

    async with serve_async(demo=True, cache=choice.cache) as served:
        try:
            if choice.name == DEMO_IDC:
                with tempfile.TemporaryDirectory(prefix="bulkdl-") as cache:  # its index is made on this machine
                    yield _of_idc(served.url, Path(cache))
            elif choice.name == DEMO_PATHDB:
                yield Profile(DEMO_PATHDB, urljoin(served.url, "/"), "pathdb")
            else:
                address = find_profile(served.url)
                yield Profile(choice.name, address.url, address.kind)
        except SelectionError as error:
            if served.missing is None or served.missing.partition(" ")[0] not in str(error):
                raise
            raise SelectionError(f"{error}: {served.missing}") from error


def _of_idc(services: str, cache: Path) -> Profile:
    """The profile of the bucket of a server of ours, with its index."""
    url = urljoin(services, "/")
    return Profile(DEMO_IDC, url, "idc", index=urljoin(url, "bulkdl/index/idc_index.parquet"), cache=cache)


@dataclass(frozen=True, slots=True)
class OpenArchive:
    """An archive, and what a worker needs to open it, too; a run sets the `root` of its mirror in that.

    `choice` is what the user gave.
    """

    client: Archive
    settings: WorkerSettings
    choice: ArchiveChoice


@asynccontextmanager
async def open_archive(
    choice: ArchiveChoice, context: RunContext, *, first_answer_seconds: float | None = None
) -> AsyncIterator[OpenArchive]:
    """A client of the chosen archive, with the limits and retries that the settings ask for.

    `first_answer_seconds` is how long an archive is waited for that has never answered.
    """
    async with find_archive(choice) as found:
        profile = replace(found, supporting=choice.supporting)
        fetch, access = context.settings, with_key(choice, profile, choice.access, context.sink)
        if profile.kind == "pathdb" and fetch.validation is ValidationLevel.PIXELS:
            require_tifffile()
        if (seconds := fetch.timeout_seconds) is not None:
            access = replace(access, answer_seconds=seconds, silence_seconds=seconds)
        settings = WorkerSettings(
            profile=profile,
            access=access,
            root=Path(),
            fetch=fetch,
            share=Share(fetch.concurrency or DEFAULT_CEILING, fetch.rate_limit_bytes),
        )
        retrier = make_retrier(settings, context)

        def note(text: str) -> None:
            context.sink(Noted(text))

        limit = f", for {first_answer_seconds:.0f} s at most" if first_answer_seconds is not None else ""
        retrier.first_answer_seconds = first_answer_seconds
        retrier.on_silence = lambda: note(f"waiting for the first answer of {profile.url}{limit}")
        async with connect(profile, retrier, access=settings.access, note=note) as client:
            if choice.supporting:
                from bulkdl.verbs.connections.supporting_data import offer_supporting_data  # noqa: PLC0415 - late: few runs need it

                offer_supporting_data(client, choice, profile, context)
            read_headers(profile, client)
            yield OpenArchive(client, settings, choice)


async def check_found(selection: Selection, found: Resolution, client: Archive) -> list[Failure]:
    """The failures of resolving, one for each question that found nothing.

    Raises RequestFailed: nothing was found, and the archive failed to answer a question; SelectionError: nothing was
    found, and no Series or instance was requested by name.
    """
    failures = found.failures()
    if not found.series and found.failed:
        raise found.failed[0][1]
    if (
        not found.series
        and selection.since is None
        and not any(failure.series or failure.instance for failure in failures)
    ):
        raise SelectionError(await explain_nothing(selection, found.not_found, client))
    return failures


@dataclass(frozen=True, slots=True)
class OpenMirror:
    """A mirror opened for work by this process alone."""

    files: MirrorFiles
    journal: JournalThread

    async def settle_layout(self, layout: Layout | None = None, sink: Sink = ignore) -> Layout:
        """The layout of the mirror; `layout`, or the default one, where it has none yet.

        A mirror that was made when the name of `layout` stood for another template keeps that one; a note says so.
        """
        template = layout.template if layout is not None else None
        known = await self.journal(Journal.layout)
        if template is not None and known is not None and known != template:
            name = layout_name(template)
            if FORMER_LAYOUTS.get(name) == known:
                how = command("relayout", str(self.files.root), "--layout", name)
                old = known.rpartition("/")[2]
                sink(Noted(f"the mirror keeps the names of an earlier {name}, {old}; to change them, run {how}"))
                template = known
        return parse_layout(await self.journal(Journal.settle_layout, template, DEFAULT_LAYOUT.template))


@asynccontextmanager
async def open_mirror(
    root: Path, verb: str, *, private: bool = False, finishes: bool = True
) -> AsyncIterator[OpenMirror]:
    """Open a mirror, or make it, and lock it until the block ends. Raises MirrorLocked, DiskError, JournalError.

    A relayout that was interrupted is finished first, unless the caller does that.
    """
    await asyncio.to_thread(refuse_inside_mirror, root)
    files = MirrorFiles(root, private=private)
    files.prepare()
    with shortage_errors(), lock_mirror(files.root, verb, private=files.is_private):
        files.partials.discard_stale()
        async with open_journal_thread(files.journal_path) as journal:
            opened = OpenMirror(files, journal)
            if finishes:
                await _finish_relayout(opened)
            yield opened
        files.partials.discard_stale()  # of a worker process that died


async def _finish_relayout(mirror: OpenMirror) -> None:
    moves = Moves(mirror.files, mirror.journal)
    await moves.finish()
    if (template := await mirror.journal(Journal.unfinished_relayout)) is not None:
        await moves.rearrange(parse_layout(template))


def place_series(journal: Journal, batch: Sequence[Series], layout: Layout) -> list[tuple[Series, str]]:
    """Each Series with its folder: the one that it has, or a new one by the layout. Runs on the journal's thread."""
    placed = []
    for series in batch:
        known = journal.find_series(series.series_uid)
        folder = known.folder if known is not None else None
        placed.append((series, folder or layout.folder(series, taken=journal.is_taken)))
    return placed


def with_supporting(choice: ArchiveChoice, rows: Iterable[SelectionRow]) -> ArchiveChoice:
    """The archive with the supporting data of its Collections, where a selection of the mirror has them."""
    return replace(choice, supporting=any(row.selection.with_supporting_data for row in rows))


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)
