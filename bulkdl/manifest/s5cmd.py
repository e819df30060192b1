"""Read s5cmd manifests of the Imaging Data Commons (IDC): commands that copy folders or objects of buckets, one a line.

A folder holds one version of one Series, so a row names a `location`; the index of IDC knows the UIDs. Rules of s5cmd
(`command/run.go`): lines are trimmed; empty lines and those that begin with `#` are left out; the others are split like
words of a shell, and the first is the command. IDC's portal, idc-index and TCIA's Data Retriever write `cp` and `sync`
of `s3://BUCKET/SERIES_UUID/*` and of single objects, with any target, for Google's cloud, too; the last one accepts
lines that are an address alone.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from bulkdl.manifest.base import ManifestReading, ManifestRow, Remarks, Text, lines, required
from bulkdl.model.drs_objects import is_drs_location, location_of_objects, objects_of

_COMMANDS: Final = frozenset({"cp", "copy", "sync", "s5cmd"})
_ADDRESS: Final = re.compile(r"(?:s3|gs)://", re.IGNORECASE)
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PLACE: Final = re.compile(
    rf"(?:s3|gs)://(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])/(?P<folder>{_UUID})(?:/(?:\*|(?P<object>{_UUID}\.dcm))?)?",
    re.IGNORECASE | re.ASCII,
)
_WORD: Final = r"[!#-&(-\[\]-~]+"  # what is printed, without blanks, quotes and the backslash
_PLAIN: Final = re.compile(rf"""(?:"{_WORD}"|{_WORD})(?:[ \t]+(?:"{_WORD}"|{_WORD}))*""", re.ASCII)
_FLAT: Final = re.compile(rf"(?:s3|gs)://[^/]+/{_UUID}\.dcm", re.IGNORECASE | re.ASCII)

# The same data have other names in Google's cloud; `public-datasets-idc` is the name until release 19.
_NAMES_IN_AWS: Final = {
    "public-datasets-idc": "idc-open-data",
    "idc-open-idc1": "idc-open-data-two",
    "idc-open-cr": "idc-open-data-cr",
}


def recognises(text: str) -> bool:
    """Whether the first line that is not a comment copies from a bucket, or is the address of something in one."""
    words = next((line.split() for line in map(str.strip, lines(text)) if line and not line.startswith("#")), [])
    is_copy = bool(words) and words[0] in _COMMANDS and any(_ADDRESS.match(_unquoted(word)) for word in words)
    return is_copy or (bool(words) and _ADDRESS.match(_unquoted(words[0])) is not None)


def read(text: Text, remarks: Remarks) -> ManifestReading:
    """Read a manifest. Raises ManifestError: it names nothing. Its rows raise it, too: a line is invalid."""
    return ManifestReading("s5cmd", required(_rows(text, remarks), remarks, "it copies nothing from a bucket"), remarks)


def _rows(text: Text, remarks: Remarks) -> Iterator[ManifestRow]:
    for number, line in enumerate(text.lines(), start=1):
        command = line.strip()
        if not command or command.startswith("#"):
            continue
        try:
            yield ManifestRow(location=_location(command))
        except ValueError as error:
            remarks.invalid(number, error)


def _location(command: str) -> str:
    """The folder or object that a command copies: `BUCKET/SERIES_UUID`, or that with `/INSTANCE_UUID.dcm`.

    Raises ValueError: it is not a command that copies one of IDC.
    """
    words = _words(command)
    address = next((word for word in words if _ADDRESS.match(word)), None)
    if address is None or (address is not words[0] and words[0] not in _COMMANDS):
        raise ValueError(f"{words[0]!r} copies nothing from a bucket")
    if _FLAT.fullmatch(address):
        raise ValueError(f"{address!r} is in the form of 2023, which is not served any more: make the manifest anew")
    if (place := _PLACE.fullmatch(address)) is None:
        raise ValueError(f"{address!r} is not a folder of a series, or an object in one")
    bucket, folder, name = place["bucket"].lower(), place["folder"].lower(), place["object"]
    location = f"{_NAMES_IN_AWS.get(bucket, bucket)}/{folder}"
    return f"{location}/{name.lower()}" if name is not None else location


def _words(command: str) -> list[str]:
    """The words of a command as a shell splits it; five times as fast where only whole words are quoted."""
    if _PLAIN.fullmatch(command) is None:
        return shlex.split(command)
    return [word.strip('"') for word in command.split()]


def location_of(text: str) -> str | None:
    """The location that a cell of a table names, as an address or as it is written here; None if it names none."""
    if is_drs_location(text):
        with suppress(ValueError):
            return location_of_objects(objects_of(text))
        return None
    address = text if _ADDRESS.match(text) else f"s3://{text}"
    folder, comma, names = address.partition(",")
    with suppress(ValueError):
        return f"{_location(folder)}{comma}{names}"
    return None


def _unquoted(word: str) -> str:
    return word.strip("'\"")
