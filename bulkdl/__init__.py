"""bulkdl mirrors DICOM collections of The Cancer Imaging Archive, and serves them again.

As a library, blocking, anywhere, in a notebook too:

    import bulkdl

    bulkdl.plan(collection="RIDER-Lung-CT")
    report = bulkdl.mirror(collection="RIDER-Lung-CT", to="/data/rider")
    series = bulkdl.query("getSeries", collection="RIDER-Lung-CT").to_pandas()

and asynchronous, each of these verbs with `_async` behind it, and an archive as an object:

    async with bulkdl.connect("tcia") as archive:
        async for series in archive.get_series(collection="RIDER-Lung-CT", modality="CT"):
            print(series.series_uid, series.image_count)

Verbs: `mirror`, `resume`, `plan`, `verify`, `status`, `query`. What they take: `select`, `reach`, `Selection`,
`FetchSettings`. What they raise is in `bulkdl.errors`, what they announce in `bulkdl.model.events`. Each name is
imported when it is first used, so that `import bulkdl` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from bulkdl._version import __version__

if TYPE_CHECKING:
    from bulkdl.errors import BulkdlError
    from bulkdl.model.selection import Selection
    from bulkdl.model.settings import FetchSettings
    from bulkdl.verbs.connect import Archive
    from bulkdl.verbs.library import (
        connect,
        mirror,
        mirror_async,
        plan,
        plan_async,
        query,
        query_async,
        reach,
        resume,
        resume_async,
        select,
        status,
        status_async,
        verify,
        verify_async,
    )
    from bulkdl.verbs.records import Record, Records

__all__ = [
    "Archive",
    "BulkdlError",
    "FetchSettings",
    "Record",
    "Records",
    "Selection",
    "__version__",
    "connect",
    "mirror",
    "mirror_async",
    "plan",
    "plan_async",
    "query",
    "query_async",
    "reach",
    "resume",
    "resume_async",
    "select",
    "status",
    "status_async",
    "verify",
    "verify_async",
]

_ELSEWHERE: Final = {
    "Archive": "bulkdl.verbs.connect",
    "BulkdlError": "bulkdl.errors",
    "FetchSettings": "bulkdl.model.settings",
    "Record": "bulkdl.verbs.records",
    "Records": "bulkdl.verbs.records",
    "Selection": "bulkdl.model.selection",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bulkdl' has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "bulkdl.verbs.library")), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
