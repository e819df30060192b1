"""`push`: send what a mirror holds to a DICOMweb archive (STOW-RS).

The journal records what the archive has confirmed, after each answer: a run that is interrupted or killed loses what
was in flight, and the next one sends that, what is new, and what has changed since. Every file is compared with the
journal while it is read; one that differs is never sent to its end.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, TypedDict, Unpack

from bulkdl.errors import BulkdlError
from bulkdl.journal.journal import Journal
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import RunContext, RunStarted, Sink, ignore
from bulkdl.model.ids import parse_series_uid, parse_study_uid
from bulkdl.model.options import Option, several
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.push import PushReport
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.tasks import run_pool
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.connections.open_store import OpenStore, open_store
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, open_mirror
from bulkdl.verbs.pushing.batches import BatchLimits, batches_of
from bulkdl.verbs.pushing.pushing import Pushing, PushSelection
from bulkdl.verbs.pushing.sending import Sending
from bulkdl.verbs.runs.recorded_run import recorded_run


class PushOptions(TypedDict, total=False):
    """The options of `push`. `sink` receives the events. When `stop` is set, it ends after the requests in flight."""

    collection: Annotated[tuple[str, ...], Option("collection", "Send only this collection.", "NAME")]
    patient: Annotated[tuple[str, ...], Option("patient", "Send only the data of this patient.", "ID")]
    study: Annotated[tuple[str, ...], Option("study", "Send only this study.", "UID", read=parse_study_uid)]
    series: Annotated[tuple[str, ...], Option("series", "Send only this series.", "UID", read=parse_series_uid)]
    modality: Annotated[tuple[str, ...], Option("modality", "Send only this modality.", "NAME")]
    settings: FetchSettings | None
    sink: Sink
    stop: asyncio.Event | None


async def push_async(mirror: Paths, to: str | ArchiveChoice, **options: Unpack[PushOptions]) -> PushReport:
    """Send what a mirror holds to a DICOMweb archive: the name of a profile, or `dicomweb+URL`.

    Sends the held instances that this archive has not confirmed before, several in one request. Values of one criterion
    are alternatives, different criteria narrow. A file that is missing or is not the one of the journal is a failure,
    and so is an instance that the archive does not confirm. Slides and supporting files, which are not DICOM, are left
    out.

    Raises:
        UserError: the archive is not one of DICOMweb, or a UID is invalid.
        ArchiveRefused, ArchiveError: the archive refuses everything, takes no instances, or does not answer.
        DiskError, MirrorLocked, JournalError: the mirror cannot be used.
    """
    started, root = time.monotonic(), Path(mirror)
    context = RunContext(
        options.get("settings") or FetchSettings(), options.get("sink", ignore), options.get("stop") or asyncio.Event()
    )
    selection = _selection_of(options)
    await asyncio.to_thread(require_mirror, root)
    async with open_store(choose_archive(to), context) as store, open_mirror(root, "push") as opened:
        settings = {"to": store.url, **selection._asdict()}
        async with recorded_run(opened, "push", settings) as ended:
            context.sink(RunStarted(ended.run_id, str(opened.files.root), store.url, sends=True))
            target = await opened.journal(Journal.target, store.url)
            pushing = Pushing(opened, selection, target, ended.run_id, context.stop, context.sink)

            def report(outcome: RunOutcome) -> PushReport:
                found = PushReport(
                    mirror=str(opened.files.root),
                    archive=store.url,
                    name=store.name,
                    run=ended.run_id,
                    outcome=outcome,
                    requests=store.client.http.requests,
                    retries=store.client.http.retrier.retries,
                    seconds=time.monotonic() - started,
                    **pushing.counts(),
                )
                ended.outcome, ended.counts = outcome, found.as_json() | {"failures": []}
                return found

            try:
                await _send(opened, store, pushing)
                return report(pushing.judge())
            except BulkdlError as error:
                error.report = report(RunOutcome.FAILED).as_json()
                raise
            except asyncio.CancelledError:
                report(RunOutcome.INTERRUPTED)
                raise


push = blocking(push_async)


def _selection_of(options: PushOptions) -> PushSelection:
    return PushSelection(
        collection=several(options.get("collection", ())),
        patient=several(options.get("patient", ())),
        study=several(options.get("study", ())),
        series=several(options.get("series", ())),
        modality=several(options.get("modality", ())),
    )


async def _send(opened: OpenMirror, store: OpenStore, pushing: Pushing) -> None:
    """Send everything that is selected. Raises ArchiveError: the archive refuses everything, or does not answer."""
    await pushing.count()
    limits = BatchLimits()
    sending = Sending(store.client, opened.files, limits, pushing, pushing.stop)
    await run_pool(batches_of(pushing.items(), limits), sending.send, workers=store.at_once, name="push")
