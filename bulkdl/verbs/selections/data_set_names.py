"""Data sets that are named plainly: the form of a word, and then the archive, decide what it is."""

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

from bulkdl.archive.base import Archive
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.archive.routed import RoutedArchive, parts_of
from bulkdl.errors import SelectionError
from bulkdl.model.access import Route
from bulkdl.model.events import Noted, Sink
from bulkdl.model.ids import SeriesUid, StudyUid, is_uid
from bulkdl.model.selection import Selection
from bulkdl.model.text import did_you_mean, folded

_DOI: Final = re.compile(r"(?:doi:\s*|https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_TCIA: Final = re.compile(r"(?:[\w-]+\.)*cancerimagingarchive\.net", re.ASCII)
_NOUNS: Final = {"collections": "collection", "patients": "patient", "studies": "study", "series": "series"}


async def resolve_data_sets(selection: Selection, archive: Archive, sink: Sink) -> Selection:
    """Replace the `data_sets` of a selection by the criteria that they are at `archive`, and tell `sink` which.

    Collections that are named by a DOI or an address are replaced, too.
    A UID is a Series or a Study, or else a Collection of exactly that name; a DOI, or the address of a page of TCIA, is
    the Collections behind it; another word is a Collection, in any case and with `-`, `_` and blanks alike, an analysis
    result, or else a Patient.
    Raises SelectionError: the archive has nothing of that name, or the words are of several kinds.
    """
    words = [name for name in selection.collections if _is_address(name)]
    if words:
        others = tuple(name for name in selection.collections if name not in words)
        selection = replace(selection, collections=others, data_sets=(*words, *selection.data_sets))
    if not selection.data_sets:
        return selection
    found: defaultdict[str, list[str]] = defaultdict(list)
    known = await archive.collections() if any(not is_uid(word) for word in selection.data_sets) else ()
    for word in selection.data_sets:
        field, values = await _meaning(word, known, archive)
        sink(Noted(f"{word!r} is the {_NOUNS[field]} {', '.join(values)}"))
        found[field] += values
    if len(found) > 1:
        kinds = " and a ".join(f"{_NOUNS[field]} ({values[0]})" for field, values in found.items())
        raise SelectionError(f"a {kinds} cannot be selected together: use one command for each")
    changes: dict[str, Any] = {field: (*getattr(selection, field), *values) for field, values in found.items()}
    return replace(selection, data_sets=(), **changes)


async def _meaning(word: str, known: Iterable[str], archive: Archive) -> tuple[str, list[str]]:
    """The field of `Selection` that a word is a value of, and the values."""
    if is_uid(word):
        field = "series" if await _has(Selection(series=(SeriesUid(word),)), archive) else "studies"
        if field == "studies" and not await _has(Selection(studies=(StudyUid(word),)), archive):
            if word in await archive.collections():  # the address of a DICOMweb server, whose data names no Collection
                return "collections", [word]
            raise SelectionError(f"the archive has no series and no study {word}, or does not show it")
        return field, [word]
    name = written_name(word)
    if _DOI.fullmatch(name):
        return "collections", await _collections_of_doi(name, archive)
    exact = [each for each in known if each.casefold() == name.casefold()]
    if alike := exact or [each for each in known if folded(each) == folded(name)]:
        return "collections", alike
    if await _is_analysis_result(name, archive):
        return "collections", [name]
    if name and await _has(Selection(patients=(name,)), archive):
        return "patients", [name]
    raise SelectionError(f"the archive has no collection and no patient called {name!r}{did_you_mean(name, known)}")


def _is_address(name: str) -> bool:
    return "://" in name or _DOI.fullmatch(name.strip()) is not None


async def _is_analysis_result(name: str, archive: Archive) -> bool:
    """Whether the index of the archive has an analysis result of that name; it is selected like a Collection."""
    if isinstance(archive, RoutedArchive) and archive.route is Route.NBIA:
        return False
    for part in parts_of(archive):
        if isinstance(part, IdcArchive) and await part.has_index():
            return (await part.catalogue()).names_of(name) is not None
    return False


def written_name(word: str) -> str:
    """What a word names a data set by: the DOI in it, the name on a page of TCIA, or the word itself.

    Raises SelectionError: it is the address of something else.
    """
    if doi := _DOI.fullmatch(word.strip()):
        return doi[1]
    return _name_in_address(word) if "://" in word else word.strip()


async def _collections_of_doi(doi: str, archive: Archive) -> list[str]:
    found = await archive.collections_of_doi(doi)
    if found is None:
        raise SelectionError(f"this archive cannot be asked for a DOI ({doi}): name the collection")
    if not found:
        raise SelectionError(f"the archive has no collection with the DOI {doi}")
    return list(found)


def _name_in_address(address: str) -> str:
    """The name of the data set on a page of TCIA: the last part of the path."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError as error:
        raise SelectionError(f"{address!r} is not an address: {error}") from error
    name = unquote_plus(parts.path.rstrip("/").rpartition("/")[2])
    if not _TCIA.fullmatch(host.casefold()) or not name:
        raise SelectionError(f"{address!r} is not the address of a data set at TCIA: name the collection")
    return name


async def _has(selection: Selection, archive: Archive) -> bool:
    """Whether the archive has any Series of the selection. Raises RequestFailed: it did not answer."""
    async with aclosing(archive.find(selection)) as batches:
        async for found in batches:
            if found.series:
                return True
            for _, error in found.failed:
                raise error
    return False
