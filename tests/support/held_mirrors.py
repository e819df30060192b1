"""Complete mirrors, made without an archive. Their files are not DICOM, because verify does not parse files."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from bulkdl.journal.journal import Journal
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.store.files import MirrorFiles
from tests.support.journals import begin, folder, record_listed, series_uid, sop_uid

if TYPE_CHECKING:
    from pathlib import Path


def make_mirror(root: Path, *, series: int, per_series: int, hole_bytes: int = 0) -> list[Path]:
    """Make a mirror; return its files in the order of the journal. With `hole_bytes` each is sparse, of that size."""
    files = MirrorFiles(root)
    files.prepare()
    paths: list[Path] = []
    with Journal.create_or_open(files.journal_path) as journal:
        run = begin(journal)
        journal.end_resolving(run)
        for number in range(series):
            record_listed(journal, run, number, range(per_series))
            (root / folder(number)).mkdir(parents=True)
            outcomes = []
            for position in range(per_series):
                path = root / folder(number) / f"{sop_uid(number, position)}.dcm"
                content = b"" if hole_bytes else f"instance {position} of series {number}".encode()
                path.write_bytes(content)
                if hole_bytes:
                    with path.open("r+b") as file:
                        file.truncate(hole_bytes)
                paths.append(path)
                outcomes.append(
                    InstanceOutcome(
                        series_uid=series_uid(number),
                        key=sop_uid(number, position),
                        sop_uid=sop_uid(number, position),
                        outcome=Outcome.FETCHED,
                        size_bytes=hole_bytes or len(content),
                        md5=hashlib.md5(content, usedforsecurity=False).digest(),
                        sha256=_sha256_of_hole(hole_bytes) if hole_bytes else hashlib.sha256(content).digest(),
                        mtime_ns=path.stat().st_mtime_ns,
                    )
                )
            journal.record_outcomes(run, outcomes)
    return paths


@cache
def _sha256_of_hole(size_bytes: int) -> bytes:
    return hashlib.sha256(bytes(size_bytes)).digest()
