"""What the annotations in a mirror refer to, read from their files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bulkdl.dicom.references import read_references
from bulkdl.errors import InvalidInstance
from bulkdl.journal.journal import Journal
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceState
from bulkdl.model.records import References
from bulkdl.runtime.disk import JOURNAL

_MOST_FILES: Final = 1_000  # of one Series


class HeldReferences:
    """Reads the files of Series in the mirror at `root`; see `bulkdl.resolve.annotations.Read`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def __call__(self, series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
        """What Series refer to. Those without readable files are left out."""
        return await asyncio.to_thread(self._read, series_uids)

    def _read(self, series_uids: Sequence[SeriesUid]) -> dict[SeriesUid, References]:
        found: dict[SeriesUid, References] = {}
        with Journal.open_readonly(self._root / JOURNAL) as journal:
            for series_uid in series_uids:
                for row in journal.instances(series_uid, limit=_MOST_FILES):
                    if row.state is InstanceState.HELD:
                        with suppress(InvalidInstance, OSError):
                            read = read_references(self._root / row.path)
                            found[series_uid] = found.get(series_uid, References()) | read
        return found
