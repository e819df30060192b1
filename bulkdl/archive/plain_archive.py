"""What archives share that know nothing beside what they list and send: no descriptions, references or checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bulkdl.archive.base import Take
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, References, SeriesSize


class PlainArchive:
    """The methods of an archive that knows nothing beside what it lists and sends."""

    async def describe(self, collection: str, take: Take, *, patient_id: str | None = None) -> None:
        """See `Archive.describe`."""
        del collection, take, patient_id

    async def references(self, series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
        """See `Archive.references`. None are stated."""
        del series_uids
        return {}

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        """See `Archive.size`. It is known of a listed file alone."""
        del series_uid
        return SeriesSize()

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        """See `Archive.checksum`. There is none."""
        del series_uid, entry
        return None

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        """See `Archive.series_checksum`. There is none."""
        del series_uid
        return None
