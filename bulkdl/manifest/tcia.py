"""Read and write NBIA `.tcia` manifests: `key=value` lines, a heading, then one Series Instance UID per line.

`read` takes text; the caller opens the file.

There is no published specification. The rules here come from the NBIA sources: `ManifestMaker` writes the format and
`StandaloneDMDispatcher` reads it. That reader accepts the heading in any case, skips blank lines, and silently drops
every character of a UID line that is not a digit or a dot. We accept comments, spaces around a UID and trailing commas,
and reject everything else, because a repaired UID may name a different Series.

Versions 1 and 2 (a missing version is 1) date from Java Web Start and list Series as records of fields separated by
`|`, with the Series UID in the fourth field (`StandaloneDMV1`, `JnlpArgumentsParser`; read in the sources; no such file
was found). Every other version is read as 3: "version 4" is that of NBIA's server, and none was seen in a manifest.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from urllib.parse import urlsplit, urlunsplit

from bulkdl.errors import InvalidUid
from bulkdl.manifest.base import ManifestReading, ManifestRow, Remarks, Text, lines, required
from bulkdl.model.ids import parse_series_uid
from bulkdl.model.text import shortened

_DOWNLOAD_SERVER = "/nbia-download/servlet/DownloadServlet"
_HEADING = "listofseriestodownload"
_KEYS = frozenset({"downloadserverurl", "includeannotation", "noofrretry", "databasketid", "manifestversion"})
_VERSION = "manifestversion"
_DEFAULTS = {
    "downloadServerUrl": f"https://nbia.cancerimagingarchive.net{_DOWNLOAD_SERVER}",
    "includeAnnotation": "false",
    "noOfrRetry": "4",
    "databasketId": "manifest-bulkdl.tcia",
}
_VERSIONS_OF_RECORDS = frozenset({"1", "2"})
_SERIES_FIELD = 3
_LINES_OF_A_PIECE = 4_096


def recognises(text: str) -> bool:
    """Whether `text` is a `.tcia` manifest: a line is the heading, or sets one of the format's keys."""
    for line in lines(text):
        name, equals, _ = line.partition("=")
        key = name.strip().lower()
        if key == _HEADING or (equals and key in _KEYS):
            return True
    return False


def read(text: Text, remarks: Remarks) -> ManifestReading:
    """Read a `.tcia` manifest of any version that lists Series.

    Settings are kept for `manifest show` and otherwise ignored, the address of the download server included.
    Raises ManifestError: the heading is missing, or no Series follows. Its rows raise it, too: a line is not a UID.
    """
    stripped = map(str.strip, text.lines())
    numbered = enumerate(("" if line.startswith("#") else line for line in stripped), start=1)
    settings: dict[str, str] = {}
    for number, line in numbered:
        key, equals, value = (part.strip() for part in line.partition("="))
        if key.lower() == _HEADING:
            first = [(number, value)] if value else []
            rows = required(_rows(chain(first, numbered), settings, remarks), remarks, "the list of series is empty")
            return ManifestReading("tcia", rows, remarks, settings)
        if line and not equals:
            remarks.invalid(number, f"{shortened(line, 80)!r} is neither a setting nor a heading")
        elif line:
            settings[key] = value
    raise remarks.error("no list of series found: the manifest is truncated")


def _rows(numbered: Iterable[tuple[int, str]], settings: Mapping[str, str], remarks: Remarks) -> Iterator[ManifestRow]:
    version = next((value for key, value in settings.items() if key.lower() == _VERSION), "1")
    holds_records = version.partition(".")[0] in _VERSIONS_OF_RECORDS
    for number, line in numbered:
        uid = line.rstrip(", ")
        try:
            if holds_records and "|" in uid:
                uid = _series_field(uid)
            if uid:
                yield ManifestRow(series_uid=parse_series_uid(uid))
        except (InvalidUid, ValueError) as error:
            remarks.invalid(number, error)


def _series_field(record: str) -> str:
    fields = record.split("|")
    if len(fields) <= _SERIES_FIELD:
        raise ValueError("a record with fewer than four fields has no series")
    return fields[_SERIES_FIELD].strip()


def compose(series_uids: Iterable[str], *, archive: str, name: str, annotations: bool = False) -> str:
    """A manifest of version 3, with the keys that NBIA's `ManifestMaker` writes, in its order.

    `archive` is any address of the archive and `name` the name of the manifest, which NBIA calls the basket.
    """
    return "".join(compose_pieces(series_uids, archive=archive, name=name, annotations=annotations))


def compose_pieces(series_uids: Iterable[str], *, archive: str, name: str, annotations: bool = False) -> Iterator[str]:
    """As `compose`, piece by piece: a manifest of a million Series has 65 MB."""
    settings = settings_of(archive) | {
        "includeAnnotation": "true" if annotations else "false",
        "databasketId": name,
    }
    lines = compose_lines(series_uids, settings)
    while piece := list(islice(lines, _LINES_OF_A_PIECE)):
        yield "\n".join([*piece, ""])


def settings_of(archive: str) -> dict[str, str]:
    """The settings of a manifest for the archive at this address.

    The NBIA Data Retriever makes its own requests to the services beside the download server, so that is written.
    """
    parts = urlsplit(archive)
    above, services, _ = parts.path.partition("/nbia-api/")
    path = (above if services else "") + _DOWNLOAD_SERVER
    return {"downloadServerUrl": urlunsplit((parts.scheme, parts.netloc, path, "", ""))}


def compose_lines(series_uids: Iterable[str], settings: Mapping[str, str]) -> Iterator[str]:
    """The lines of a manifest of version 3. The Data Retriever and tcia_utils expect these settings, in this order."""
    given = {key.lower(): value for key, value in settings.items() if "\n" not in value}
    for key, default in _DEFAULTS.items():
        yield f"{key}={given.get(key.lower(), default)}"
    yield "manifestVersion=3.0"
    yield "ListOfSeriesToDownload="
    yield from series_uids
