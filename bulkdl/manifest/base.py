"""`Manifest`: what every reader of manifests returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bulkdl.errors import InvalidUid, ManifestError
from bulkdl.model.ids import SeriesUid, SopInstanceUid, parse_series_uid, parse_sop_uid
from bulkdl.model.records import SeriesSize


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A list of Series in the order of the file, without duplicates.

    `instances` narrows some of the Series to single instances, as `Selection.instances` does: pairs of a Series UID and
    its SOP Instance UIDs. `settings` are the manifest's key-value pairs as written; they are displayed and otherwise
    ignored. `notes` say what was left out. `expected` maps a Series UID to its size and number of instances, where the
    manifest states them. `format` is a word for people: `tcia`, `list`, `csv`, `tsv`.
    """

    series: tuple[SeriesUid, ...]
    format: str
    instances: tuple[tuple[SeriesUid, tuple[SopInstanceUid, ...]], ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[SeriesUid, SeriesSize] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def series_uid_at(text: str, *, source: str, line: int) -> SeriesUid:
    """Parse a Series Instance UID from a line of a manifest. Raises ManifestError, which carries `line`."""
    try:
        return parse_series_uid(text)
    except InvalidUid as error:
        raise ManifestError(str(error), source=source, line=line) from error


def sop_uid_at(text: str, *, source: str, line: int) -> SopInstanceUid:
    """Parse a SOP Instance UID from a line of a manifest. Raises ManifestError, which carries `line`."""
    try:
        return parse_sop_uid(text)
    except InvalidUid as error:
        raise ManifestError(str(error), source=source, line=line) from error
