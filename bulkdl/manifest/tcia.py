"""The NBIA `.tcia` manifest: `key=value` lines, a heading, then one Series a line.

Text in, `Manifest` out; opening the file is the caller's affair.

No specification is published. What is assumed here was read in the NBIA sources: `ManifestMaker` writes the format and
`StandaloneDMDispatcher` reads it. That reader finds the heading in any case, skips blank lines, and silently drops
every character of a UID line but digits and dots. We take comments, blanks around a UID and trailing commas, and refuse
the rest: a mended UID may name another Series.

Versions 1 and 2 (a missing version is 1) come from the time of Java Web Start and list Series as records of fields
parted by `|`, the Series UID being the fourth (`StandaloneDMV1`, `JnlpArgumentsParser`; read in the sources, not seen
in the wild). What NBIA calls its version 4 is its server's; a manifest of a later version is refused, as NBIA does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkdl.errors import ManifestError
from bulkdl.manifest.base import Manifest, series_uid_at

if TYPE_CHECKING:
    from bulkdl.model.ids import SeriesUid

_HEADING = "listofseriestodownload"
_KEYS = frozenset({"downloadserverurl", "includeannotation", "noofrretry", "databasketid", "manifestversion"})
_VERSION = "manifestversion"
_VERSIONS_OF_RECORDS = frozenset({"1", "2"})
_VERSIONS = _VERSIONS_OF_RECORDS | {"3"}
_SERIES_FIELD = 3


def recognises(text: str) -> bool:
    """Whether `text` is meant as a `.tcia` manifest: some line is the heading, or sets one of the format's keys."""
    for line in text.splitlines():
        name, equals, _ = line.partition("=")
        key = name.strip().lower()
        if key == _HEADING or (equals and key in _KEYS):
            return True
    return False


def parse(text: str, *, source: str) -> Manifest:
    """Read a `.tcia` manifest of any version that lists Series.

    The order of the file is kept, and a UID that comes twice counts once. `source` is the name used in messages.
    Settings are kept as written, for `manifest show`; none of them is obeyed, the download server least of all.

    Raises:
        ManifestError: no heading, no Series under it, a line that is not a UID, or a version that is not known. Carries
            `source` and, where one line is to blame, `line` (the first is 1).
    """
    lines = enumerate(map(_without_comment, text.splitlines()), start=1)
    settings: dict[str, str] = {}
    series: dict[SeriesUid, None] = {}  # a dict, because a set would lose the order
    for number, line in lines:
        key, equals, value = (part.strip() for part in line.partition("="))
        if key.lower() == _HEADING:
            if value:
                series[series_uid_at(value.rstrip(", "), source=source, line=number)] = None
            break
        if line and not equals:
            raise ManifestError(f"{line[:80]!r} is neither a setting nor a heading", source=source, line=number)
        if line:
            settings[key] = value
    else:
        raise ManifestError("no list of series was found: the manifest is cut", source=source)

    holds_records = _major_version(settings, source) in _VERSIONS_OF_RECORDS
    for number, line in lines:
        uid = line.rstrip(", ")
        if holds_records and "|" in uid:
            uid = _series_field(uid, source=source, line=number)
        if uid:
            series[series_uid_at(uid, source=source, line=number)] = None
    if not series:
        raise ManifestError("the list of series is empty", source=source)
    return Manifest(series=tuple(series), settings=settings, format="tcia")


def _without_comment(line: str) -> str:
    line = line.strip()
    return "" if line.startswith("#") else line


def _major_version(settings: dict[str, str], source: str) -> str:
    version = next((value for key, value in settings.items() if key.lower() == _VERSION), "1")
    major = version.partition(".")[0]
    if major not in _VERSIONS:
        raise ManifestError(f"manifest version {version!r} is not known: 1, 2 and 3 are", source=source)
    return major


def _series_field(record: str, *, source: str, line: int) -> str:
    fields = record.split("|")
    if len(fields) <= _SERIES_FIELD:
        raise ManifestError("a record of fewer than four fields names no series", source=source, line=line)
    return fields[_SERIES_FIELD].strip()
