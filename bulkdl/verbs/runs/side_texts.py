"""The texts beside the images of a mirror: what is in `metadata.csv`, `README.txt`, `LICENSE` and `CITATION.bib`.

They are made from the journal at the end of a run that changed something; nothing is asked of an archive for them. The
SOP class of a Series is that of a file that was validated; for a Series whose files an older bulkdl downloaded, one
header is read. A text that cannot be written does not fail the run.
"""

import asyncio
import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, Final

from bulkdl._version import __version__
from bulkdl.errors import DiskError
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldGroup
from bulkdl.model.descriptions import CollectionDescription
from bulkdl.model.dois import doi_in
from bulkdl.model.events import Noted, Sink
from bulkdl.model.formatting import counted
from bulkdl.model.quantities import human_bytes
from bulkdl.model.text import one_line
from bulkdl.services.citations import (
    TCIA_PREFIX,
    CitationFormat,
    KnownReferences,
    Reference,
    papers_of_archives,
    write_references,
)
from bulkdl.store.layout import DEFAULT_LAYOUT, parse_layout
from bulkdl.store.side_files import SideFiles
from bulkdl.store.side_names import CITATION, LICENSE, METADATA, README, folder_of_collection
from bulkdl.verbs.mirrors.open_mirror import OpenMirror
from bulkdl.verbs.tables.journal_tables import ExportTable, columns, metadata_rows

_PROPERTY: Final = "side_files"
_VERSION: Final = 1  # of the texts: another one writes them anew
_LINES_AT_ONCE: Final = 500
_TCIA_POLICY: Final = "https://www.cancerimagingarchive.net/data-usage-policies-and-restrictions/"
_NOT_STATED: Final = "not stated by the archive"


async def write_side_files(mirror: OpenMirror, sink: Sink, *, has_changed: bool) -> None:
    """Bring the texts of a mirror to what it holds; `has_changed`: the run put files in place."""
    try:
        made = await asyncio.to_thread(_write, mirror, has_changed=has_changed)
    except DiskError as error:
        sink(Noted(f"not all texts beside the images were written: {error}"))
        return
    if made is None:
        return
    await mirror.journal(Journal.keep_sop_classes, made.sop_classes)
    await mirror.journal(Journal.set_property, _PROPERTY, made.kept)
    for path in made.left_alone:
        sink(Noted(f"{path} was not written, because another program wrote or changed the one that is there"))


def has_side_files(journal: Journal) -> bool:
    """Whether a mirror has such texts."""
    return journal.property(_PROPERTY) is not None


async def renew_side_files(mirror: OpenMirror, sink: Sink) -> None:
    """As `write_side_files`, if the mirror has such texts."""
    if await mirror.journal(Journal.property, _PROPERTY) is not None:
        await write_side_files(mirror, sink, has_changed=True)


@dataclass(frozen=True, slots=True)
class _Made:
    """What was written: the property of the mirror, the SOP classes that were read, and the files of others."""

    kept: str
    sop_classes: dict[int, str]
    left_alone: Sequence[str]


def _write(mirror: OpenMirror, *, has_changed: bool) -> _Made | None:
    """Write the texts; None where nothing has changed since they were written."""
    with Journal.open_readonly(mirror.files.journal_path) as journal:
        before: dict[str, Any] = json.loads(journal.property(_PROPERTY) or "{}")
        known: dict[str, str] = before.get("files", {})
        state = f"{_VERSION} {journal.state()} {journal.property('layout')}"
        are_there = all((mirror.files.root / path).is_file() for path in known)
        if before.get("state") == state and are_there and not has_changed:
            return None
        if not journal.counts(None).held and not known:
            return None
        files, sop_classes = SideFiles(mirror.files, known), dict[int, str]()
        texts = _Texts(mirror.files.root, journal)
        files.put(METADATA, _csv_lines(metadata_rows(mirror.files.root, journal, sop_classes)))
        for path, text in texts.of_collections():
            files.put(path, [text])
        changed = files.written != {path: digest for path, digest in known.items() if path != README}
        at = datetime.fromisoformat(before["at"]) if "at" in before and not changed else datetime.now(UTC)
        files.put(README, [texts.readme(at)])
        files.remove_others()
        kept = json.dumps({"state": state, "files": files.written, "at": at.isoformat(timespec="seconds")})
        return _Made(kept, sop_classes, files.left_alone)


def _csv_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    buffer = StringIO(newline="")
    writer: csv.DictWriter[str] = csv.DictWriter(buffer, list(columns(ExportTable.METADATA)))
    writer.writeheader()
    for number, row in enumerate(rows, start=1):
        writer.writerow(row)
        if number % _LINES_AT_ONCE == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


class _Texts:
    """The texts of one mirror, from its journal."""

    def __init__(self, root: Path, journal: Journal) -> None:
        self._root = root
        self._journal = journal
        self._groups: defaultdict[str, list[HeldGroup]] = defaultdict(list)
        for group in journal.held_groups():
            self._groups[group.collection].append(group)
        self._collections = {each.collection: each for each in journal.collection_descriptions()}
        self._known = KnownReferences(self._collections.values(), journal.result_descriptions())
        self._layout = parse_layout(journal.property("layout") or DEFAULT_LAYOUT.template)

    def of_collections(self) -> Iterator[tuple[str, str]]:
        """The paths and the texts of the licences and references of each Collection."""
        for collection, folder in self._folders().items():
            groups, described = self._groups[collection], self._collections.get(collection)
            references = references_of(groups, described, self._known)
            yield f"{folder}/{LICENSE}", license_text(collection, groups, described)
            yield f"{folder}/{CITATION}", write_references(references, CitationFormat.BIBTEX)

    def _folders(self) -> dict[str, str]:
        """The folder of each Collection: the one that most of its Series are in, if no other has it."""
        folders: dict[str, str] = {}
        for collection, groups in sorted(self._groups.items()):
            sums: defaultdict[str, int] = defaultdict(int)
            for group in groups:
                sums[group.folder] += group.series
            first = max(sums, key=lambda name: (sums[name], name))
            is_free = self._layout.begins_with_collection and first not in folders.values()
            folders[collection] = folder_of_collection(collection, first if is_free else None)
        return folders

    def readme(self, at: datetime) -> str:
        """The text for people who find the folder; `at` is when it changed last."""
        groups = [group for found in self._groups.values() for group in found]
        series, instances = sum(each.series for each in groups), sum(each.instances for each in groups)
        size = human_bytes(sum(each.size_bytes for each in groups))
        first = self._journal.first_run_at()
        archives = self._journal.archives()
        sources = [f"  {one_line(name)} ({one_line(url)})" if url else f"  {one_line(name)}" for name, url in archives]
        return _README.format(
            version=__version__,
            what=f"{counted(instances, 'instance')} in {series:,} series, {size}",
            collections="\n".join(self._lines()),
            sources="\n".join(sources),
            release=f"\n  Looked up in {release}" if (release := self._journal.last_catalogue()) else "",
            begun=f"{first:%Y-%m-%d}" if first is not None else "unknown",
            changed=f"{at:%Y-%m-%d}",
            layout=self._layout.template,
        )

    def _lines(self) -> Iterator[str]:
        folders = self._folders()
        for collection, groups in sorted(self._groups.items()):
            series = sum(group.series for group in groups)
            licenses = sorted({one_line(group.license_name or _NOT_STATED) for group in groups})
            name = one_line(collection) or "(no name)"
            yield f"  {name}: {series:,} series, {'; '.join(licenses)}; see {folders[collection]}/"


def license_text(collection: str, groups: Sequence[HeldGroup], described: CollectionDescription | None) -> str:
    """The licences of what is held of a Collection, as the archive states them."""
    lines = [f"Collection: {one_line(collection)}"]
    if described is not None and described.uri:
        lines.append(f"Described at: {one_line(described.uri)}")
    seen = dict.fromkeys((each.license_name, each.license_uri, each.uri, each.is_third_party) for each in groups)
    for name, uri, source, is_third_party in seen:
        if name is None and described is not None and not is_third_party:
            name, uri = described.license_name, described.license_uri  # noqa: PLW2901 - what the Collection states
        of = "Analysis results of others" if is_third_party else "Data"
        lines += ["", f"{of}{f' published at {one_line(source)}' if source else ''}"]
        lines += [f"License: {one_line(name or _NOT_STATED)}", *([f"License URL: {one_line(uri)}"] if uri else [])]
    lines += ["", "These are the licenses that the archive states for the series in this folder.", *_policy(groups)]
    return "\n".join((*lines, f"To cite the data, use the references in {CITATION}.", ""))


def _policy(groups: Sequence[HeldGroup]) -> list[str]:
    if not any(TCIA_PREFIX in (group.uri or "").lower() for group in groups):
        return []
    return [f"Users of data of The Cancer Imaging Archive (TCIA) agree to its policy: {_TCIA_POLICY}"]


def references_of(
    groups: Sequence[HeldGroup], described: CollectionDescription | None, known: KnownReferences
) -> list[Reference]:
    """The references of what is held of a Collection: the Collection, analysis results, and the archives themselves."""
    collection = groups[0].collection
    title = one_line(collection) or "unnamed collection"
    uris: list[str | None] = list(dict.fromkeys(group.uri for group in groups if group.uri))
    if not uris and described is not None and described.uri:
        uris = [described.uri]
    references = []
    for uri in uris or [None]:
        doi = doi_in(uri)
        unknown = Reference(title=title, doi=doi, url=None if doi else uri)
        references.append(known.find(doi, collection) or unknown)
    dois = [doi for uri in uris if (doi := doi_in(uri))]
    return [*references, *papers_of_archives(dois, from_idc=any(group.is_in_bucket for group in groups))]


_README: Final = """\
This folder is a mirror of imaging data, made by bulkdl {version}.

What it holds
  {what}
{collections}

Where it comes from
{sources}{release}

When
  Begun on {begun}, changed last on {changed} (UTC).

What is where
  {layout}/SOP_INSTANCE_UID.dcm, or as the layout says: the images, as the archive sent them
  metadata.csv: one row for each series, with the columns of the NBIA Data Retriever
  LICENSE, CITATION.bib: the licenses and references of each collection
  .bulkdl/journal.sqlite: the state, size and checksums of every file (an SQLite database)

How to verify it
  bulkdl verify DIR      compares every file with its size and SHA-256
  bulkdl status DIR      says what is complete and what is missing
  bulkdl resume DIR      downloads what is missing
  Without bulkdl, in this folder:
  sqlite3 -readonly .bulkdl/journal.sqlite "SELECT sha256 || '  ' || path FROM v_instances WHERE state = 'held'" \\
    | sha256sum --check --quiet

bulkdl is free software for Python: pip install bulkdl
"""
