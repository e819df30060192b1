"""Attributes that were read from the files of a mirror."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from bulkdl.journal import queries
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import HeldInstance


class HeaderRecords(JournalDatabase):
    """The attributes of files in a journal."""

    def sop_class(self, series_id: int) -> str | None:
        """The SOP class of a Series: of an instance that was validated, or of `keep_sop_classes`; None if unknown."""
        row = self._row(queries.SOP_CLASS, (series_id,))
        return None if row is None else str(row[0])

    def keep_sop_classes(self, found: Mapping[int, str]) -> None:
        """Record the SOP class of Series by their ids, as the header of their first file has it."""
        with self._writing() as database:
            database.executemany(queries.KEEP_SOP_CLASS, found.items())

    def headers(self, held: Sequence[HeldInstance], keywords: Sequence[str]) -> dict[str, dict[str, str]]:
        """The attributes of the instances whose files were read for all `keywords`, by their paths.

        An attribute that the file does not have is left out.
        """
        wanted = frozenset(keywords)
        known = {one.path: record for one in held if wanted <= (record := self._header(one)).keys()}
        return {
            path: {keyword: value for keyword in keywords if (value := record[keyword]) is not None}
            for path, record in known.items()
        }

    def _header(self, held: HeldInstance) -> dict[str, str | None]:
        row = self._row(queries.HEADER, (held.series_id, held.sop_uid, held.mtime_ns))
        found: dict[str, str | None] = json.loads(row[0]) if row is not None else {}
        return found

    def keep_headers(
        self, read: Iterable[tuple[HeldInstance, Mapping[str, str] | str]], keywords: Sequence[str]
    ) -> None:
        """Record the attributes that were read from files, beside those of earlier times; not why others were not."""
        with self._writing() as database:
            for held, values in read:
                if not isinstance(values, str):
                    record = {**self._header(held), **{keyword: values.get(keyword) for keyword in keywords}}
                    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
                    database.execute(queries.KEEP_HEADER, (held.series_id, held.sop_uid, held.mtime_ns, text))
