"""The addresses of DICOMweb, made of the root and of UIDs, and the queries of a search. Pure.

Addresses in answers (RetrieveURL, BulkDataURI) are never used: servers make them of the request, often wrongly, and
they could name any host.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from bulkdl.archive.request import Pairs
from bulkdl.errors import RequestRejected

_RAW: Final = "*?^,"  # Orthanc compares values as they are sent


def studies_path(study_uid: str, series_uid: str | None = None, sop_uid: str | None = None) -> str:
    """The path of a Study, a Series or an instance, relative to the root.

    Raises:
        RequestRejected: a UID consists of dots alone, and would name another path.
    """
    parts = ["studies", study_uid]
    parts += ["series", series_uid] if series_uid is not None else []
    parts += ["instances", sop_uid] if sop_uid is not None else []
    if any(not part.strip(".") for part in parts):
        raise RequestRejected("a UID of dots alone cannot be requested")
    return "/".join(quote(part, safe="") for part in parts)


def address(root: str, path: str, query: Pairs = (), *, is_raw: bool = True) -> str:
    """The address of a request. `is_raw`: wildcards, `^` and `,` are sent as they are."""
    safe = _RAW if is_raw else ""
    pairs = "&".join(f"{quote(name, safe='')}={quote(value, safe=safe)}" for name, value in query)
    return f"{root}{path}{'?' if pairs else ''}{pairs}"
