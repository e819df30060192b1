"""The files of a mirror, and the instances and entries behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bulkdl.journal import queries, rows
from bulkdl.journal.rows import HeldInstance, Run
from bulkdl.journal.schema import STATE_NUMBERS
from bulkdl.journal.series_rows import SeriesRows
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import InstanceKey

_STATES: Final = {number: state for state, number in STATE_NUMBERS.items()}
_NO_RUN: Final = -1


class HeldFiles(SeriesRows):
    """The files and instances of a journal."""

    def held(self, *, after: tuple[int, str] | None = None, limit: int) -> list[HeldInstance]:
        """Files of the mirror, by series id and SOP Instance UID, after `after`; fewer than `limit` at the end."""
        series_id, sop_uid = after or (0, "")
        found: list[HeldInstance] = []
        while True:
            page = self._rows(queries.HELD_OF_SERIES, (series_id, sop_uid, limit - len(found)))
            found += (rows.held_instance(row) for row in page)
            if len(found) == limit:
                return found
            following = self._row(queries.HOLDING_SERIES, (series_id,))
            if following is None:
                return found
            series_id, sop_uid = following[0], ""

    def adopted(self, series_uid: SeriesUid) -> list[HeldInstance]:
        """The files of a Series that were adopted, and not downloaded since."""
        return [rows.held_instance(row) for row in self._rows(queries.ADOPTED, (series_uid,))]

    def held_of_series(self, series_uid: SeriesUid) -> list[HeldInstance]:
        """The files of a Series."""
        return [rows.held_instance(row) for row in self._rows(queries.ALL_HELD_OF_SERIES, (series_uid,))]

    def held_without_md5(self, series_uid: SeriesUid) -> list[HeldInstance]:
        """The files of a Series whose MD5 is not known."""
        return [rows.held_instance(row) for row in self._rows(queries.HELD_WITHOUT_MD5, (series_uid,))]

    def held_folders(self, run: Run, *, after: int = 0, limit: int) -> list[rows.HeldFolder]:
        """Folders of the run's selection, or of all, with the files of earlier runs, by series id after `after`."""
        scope = {"selection": run.selection_id, "after": after, "limit": limit}
        return [
            rows.HeldFolder(number, series_uid, folder, self._rows(queries.HELD_FILES, (number, run.id)))
            for number, series_uid, folder in self._rows(queries.HELD_FOLDERS, scope)
        ]

    def held_folder(self, series_uid: SeriesUid) -> rows.HeldFolder | None:
        """The folder and the files of a Series, those that every run put there; None if it has no folder."""
        row = self.find_series(series_uid)
        if row is None or row.folder is None:
            return None
        return rows.HeldFolder(row.id, series_uid, row.folder, self._rows(queries.HELD_FILES, (row.id, _NO_RUN)))

    def instances(self, series_uid: SeriesUid, *, after: str = "", limit: int) -> list[rows.InstanceRow]:
        """The recorded instances of a Series whose UID is known, by UID, after `after`."""
        return [
            rows.InstanceRow(sop_uid, path, _STATES[state], size_bytes)
            for sop_uid, path, state, size_bytes in self._rows(queries.INSTANCES, (series_uid, after, limit))
        ]

    def instance_table(self, series_uid: SeriesUid) -> Iterator[dict[str, Any]]:
        """The rows of a Series in the view `v_instances`, as text, numbers and None."""
        for row in self._rows(queries.INSTANCE_TABLE, (series_uid,)):
            yield dict(zip(queries.INSTANCE_COLUMNS, row, strict=True))

    def entries(self, series_uid: SeriesUid) -> list[rows.EntryRow]:
        """What is recorded of each entry of a Series; none if the Series is not known."""
        row = self._row(queries.SERIES_ID, (series_uid,))
        found = self._rows(queries.ENTRIES, row) if row is not None else []
        return [rows.EntryRow(key, uid, name, _STATES[state], *reason) for key, uid, name, state, *reason in found]

    def find_held(self, key: InstanceKey) -> rows.HeldPlace | None:
        """Where an instance is in the mirror according to the journal; None if it is not held."""
        row = self._row(queries.FIND_HELD, (key.series_uid, key.sop_uid))
        return None if row is None else rows.HeldPlace(*row)

    def find_all_held(self, keys: Sequence[InstanceKey]) -> dict[InstanceKey, rows.HeldPlace]:
        """Where those of these instances are that are held, by one question: each takes the interpreter lock again."""
        asked = json.dumps([(key.series_uid, key.sop_uid) for key in keys])
        return {keys[number]: rows.HeldPlace(*place) for number, *place in self._rows(queries.FIND_ALL_HELD, (asked,))}

    def file_names(self, series_uid: SeriesUid) -> dict[str, str]:
        """The names of the files of a Series, each with the SOP Instance UID that has it."""
        row = self._row(queries.SERIES_ID, (series_uid,))
        return dict(self._rows(queries.NAMES_IN_PLACE, row)) if row is not None else {}
