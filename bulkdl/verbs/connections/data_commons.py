"""Data commons of Gen3: which one has the objects of a selection, and the key of the user for it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.archive.profiles import DRS, Profile, commons_of, find_profile
from bulkdl.dicom.header import read_header
from bulkdl.errors import ConfigurationError, InstanceError, SelectionError
from bulkdl.model.access import DEFAULT_ARCHIVE, DEMOS, PATHDB, Access, ArchiveChoice
from bulkdl.model.drs_objects import DrsObject, is_drs_location, objects_of
from bulkdl.model.events import Noted, Sink
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.verbs.connections.reach import read_text

_LONGEST_KEY: Final = 16_384


def choose_commons(selection: Selection, choice: ArchiveChoice, sink: Sink) -> ArchiveChoice:
    """The data commons that has the objects of a selection, instead of the chosen archive; a note says so.

    Only data commons that the user named, by a profile or as the archive, are ever asked.

    Raises:
        ConfigurationError: no such data commons is known.
        SelectionError: the objects are of several ones, or of one and of other archives.
    """
    objects = list(_objects_in(selection))
    if not objects:
        searchable(choice)
    chosen = None if choice.name in DEMOS else profile_of_choice(choice)
    if not objects:
        return _with_slides(selection, choice, sink)
    if any(not is_drs_location(place) for place in _places_in(selection)) or _names_others(selection):
        raise SelectionError(
            "objects of a data commons cannot be selected together with others: use one command for each"
        )
    names = {(each.host, each.prefix): _name_of(each, choice, chosen) for each in objects}
    if len(several := sorted(set(names.values()))) > 1:
        raise SelectionError(f"the manifest names objects of several data commons ({', '.join(several)}): split it")
    (name,) = set(names.values())
    if name == choice.name:
        return choice
    sink(Noted(f"the manifest names objects of a data commons: they come from {name}"))
    return replace(choice, name=name)


def searchable(choice: ArchiveChoice) -> ArchiveChoice:
    """The same choice. Raises SelectionError: it is a data commons, which answers no questions."""
    if choice.name not in DEMOS and profile_of_choice(choice).kind == DRS:
        raise SelectionError(f"{choice.name} is a data commons, which is not searched: give a manifest of its objects")
    return choice


def profile_of_choice(choice: ArchiveChoice) -> Profile:
    """The profile of an archive that is not the demonstration. Raises ConfigurationError: there is none."""
    return find_profile(choice.name, choice.profiles, forms=choice.forms)


def _with_slides(selection: Selection, choice: ArchiveChoice, sink: Sink) -> ArchiveChoice:
    """PathDB, where a manifest names slides alone and no archive is chosen; a note says so."""
    parts = selection.parts()
    if choice.name != DEFAULT_ARCHIVE or not all(part.slides for part in parts):
        return choice
    sink(Noted("the manifest names slides: they come from pathdb"))
    return replace(choice, name=PATHDB)


def _name_of(wanted: DrsObject, choice: ArchiveChoice, chosen: Profile | None) -> str:
    if chosen is not None and chosen.kind == DRS and wanted.host in {"", chosen.netloc}:
        return choice.name
    if (name := commons_of(wanted.host, wanted.prefix, choice.profiles)) is not None:
        return name
    which = wanted.host or f"the prefix {wanted.prefix}"
    address = f"https://{wanted.host}" if wanted.host else "https://HOST"
    raise ConfigurationError(
        f"the manifest names objects of {which}, which is not a known data commons; if you trust it, give "
        f"--archive drs+{address}, or add it to [profiles] of the configuration"
    )


def _places_in(selection: Selection) -> Iterator[str]:
    yield from selection.locations
    for each in selection.alternatives:
        yield from _places_in(each)


def _objects_in(selection: Selection) -> Iterator[DrsObject]:
    for place in _places_in(selection):
        if is_drs_location(place):
            yield from objects_of(place)


def _names_others(selection: Selection) -> bool:
    """Whether a selection has alternatives that are not objects."""
    return any(not each.locations for each in selection.alternatives)


def with_key(choice: ArchiveChoice, profile: Profile, access: Access, sink: Sink) -> Access:
    """The access to a data commons with the key of the user, if there is one; that of another archive as it is.

    Raises ConfigurationError: the key file cannot be read, or is not one.
    """
    if profile.kind != DRS or choice.gen3_credentials is None:
        return access
    path = choice.gen3_credentials
    name = f"the key file {str(path)!r}"
    key = _key_in(read_text(path, name), name)
    with suppress(OSError):
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
            sink(Noted(f"other users of this machine may read {name}: run chmod 600 {path}"))
    return replace(access, credentials=replace(access.credentials, gen3_key=key))


def _key_in(text: str, name: str) -> str:
    try:
        key = json.loads(text)["api_key"]
    except (ValueError, TypeError, KeyError, RecursionError):
        key = None  # and no cause, which would show the content
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise ConfigurationError(f"{name} is not a key file of Gen3: it is JSON with an api_key") from None
    return key


def read_headers(profile: Profile, client: Archive) -> None:
    """Have an archive of a data commons read the headers of objects whose Series it cannot know otherwise."""
    if profile.kind != DRS:
        return
    from bulkdl.archive.drs.archive import DrsArchive  # noqa: PLC0415 - late: few runs need it

    if isinstance(client, DrsArchive):
        client.series_of = _series_of


def _series_of(head: bytes) -> Series | None:
    with suppress(InstanceError):
        header = read_header(head)
        return Series(
            series_uid=header.series_uid,
            study_uid=header.study_uid,
            patient_id=header.patient_id or "",
            collection=header.collection or "",
            modality=header.modality,
            description=header.series_description,
        )
    return None
