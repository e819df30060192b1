"""bulkdl mirrors DICOM collections of The Cancer Imaging Archive, and serves them again.

Blocking functions, which work in scripts and in notebooks:

    import bulkdl

    bulkdl.plan(collection="RIDER-Lung-CT")
    report = bulkdl.mirror(collection="RIDER-Lung-CT", to="/data/rider")
    series = bulkdl.query("getSeries", collection="RIDER-Lung-CT").to_pandas()

Asynchronous twins of these functions have names that end in `_async`; an archive is an object:

    async with bulkdl.connect("tcia") as archive:
        async for series in archive.get_series(collection="RIDER-Lung-CT", modality="CT"):
            print(series.series_uid, series.image_count)

    async with bulkdl.mirroring("RIDER-Lung-CT", to="/data/rider") as run:
        async for completed in run:
            print(completed.folder)

Each command is a verb here, with the same name: `mirror`, `plan`, `verify`, `query`, `serve`, …; `__all__` has them
all. `manifest show` is `manifest_show`; `sync --prune` and `sync --dry-run` are `prune` and `sync_plan`. `open` reads
a mirror for analysis. The arguments of verbs are made by `select`, `reach`, `Selection` and `FetchSettings`. Their
errors are in `bulkdl.errors`, their events in `bulkdl.model.events`. Nothing is printed, and no environment is read.
Each name is imported when it is first used, so `import bulkdl` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from bulkdl._version import __version__

if TYPE_CHECKING:
    from bulkdl.errors import BulkdlError
    from bulkdl.model.selection import Selection
    from bulkdl.model.settings import FetchSettings
    from bulkdl.verbs.adopt import adopt, adopt_async
    from bulkdl.verbs.archives import archives, archives_async
    from bulkdl.verbs.cite import cite, cite_async
    from bulkdl.verbs.connect import connect, query, query_async
    from bulkdl.verbs.connections.connected_archive import ConnectedArchive as Archive
    from bulkdl.verbs.connections.reach import reach
    from bulkdl.verbs.describe import describe, describe_async
    from bulkdl.verbs.doctor import doctor, doctor_async
    from bulkdl.verbs.export import export, export_async
    from bulkdl.verbs.ls import ls, ls_async
    from bulkdl.verbs.manifest import manifest_convert, manifest_from_mirror, manifest_show
    from bulkdl.verbs.manifest_diff import manifest_diff
    from bulkdl.verbs.manifest_lock import manifest_lock, manifest_lock_async
    from bulkdl.verbs.merge import merge, merge_async
    from bulkdl.verbs.mirror import mirror, mirror_async
    from bulkdl.verbs.mirroring import mirroring
    from bulkdl.verbs.open import Mirror, open  # noqa: A004 - `bulkdl.open` is what users look for
    from bulkdl.verbs.plan import plan, plan_async
    from bulkdl.verbs.prune import prune, prune_async
    from bulkdl.verbs.push import push, push_async
    from bulkdl.verbs.relayout import relayout, relayout_async
    from bulkdl.verbs.report import report, report_async
    from bulkdl.verbs.resume import resume, resume_async
    from bulkdl.verbs.select import select
    from bulkdl.verbs.serve import serve, serve_async
    from bulkdl.verbs.status import log, log_async, status, status_async
    from bulkdl.verbs.sync import sync, sync_async
    from bulkdl.verbs.sync_plan import sync_plan, sync_plan_async
    from bulkdl.verbs.tables.records import Record, Records
    from bulkdl.verbs.verify import verify, verify_async

__all__ = [
    "Archive",
    "BulkdlError",
    "FetchSettings",
    "Mirror",
    "Record",
    "Records",
    "Selection",
    "__version__",
    "adopt",
    "adopt_async",
    "archives",
    "archives_async",
    "cite",
    "cite_async",
    "connect",
    "describe",
    "describe_async",
    "doctor",
    "doctor_async",
    "export",
    "export_async",
    "log",
    "log_async",
    "ls",
    "ls_async",
    "manifest_convert",
    "manifest_diff",
    "manifest_from_mirror",
    "manifest_lock",
    "manifest_lock_async",
    "manifest_show",
    "merge",
    "merge_async",
    "mirror",
    "mirror_async",
    "mirroring",
    "open",
    "plan",
    "plan_async",
    "prune",
    "prune_async",
    "push",
    "push_async",
    "query",
    "query_async",
    "reach",
    "relayout",
    "relayout_async",
    "report",
    "report_async",
    "resume",
    "resume_async",
    "select",
    "serve",
    "serve_async",
    "status",
    "status_async",
    "sync",
    "sync_async",
    "sync_plan",
    "sync_plan_async",
    "verify",
    "verify_async",
]

_ELSEWHERE: Final = {
    "bulkdl.errors": ("BulkdlError",),
    "bulkdl.model.selection": ("Selection",),
    "bulkdl.model.settings": ("FetchSettings",),
    "bulkdl.verbs.connect": ("query",),
    "bulkdl.verbs.connections.connected_archive": ("Archive",),
    "bulkdl.verbs.connections.reach": ("reach",),
    "bulkdl.verbs.manifest": ("manifest_convert", "manifest_from_mirror", "manifest_show"),
    "bulkdl.verbs.manifest_diff": ("manifest_diff",),
    "bulkdl.verbs.open": ("Mirror",),
    "bulkdl.verbs.tables.records": ("Record", "Records"),
    "bulkdl.verbs.status": ("log",),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bulkdl' has no attribute {name!r}")
    verb = name.removesuffix("_async")
    module = next((module for module, names in _ELSEWHERE.items() if verb in names), f"bulkdl.verbs.{verb}")
    return getattr(importlib.import_module(module), "ConnectedArchive" if name == "Archive" else name)


def __dir__() -> list[str]:
    return sorted(__all__)
