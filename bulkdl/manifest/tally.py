"""Count what a manifest names, row by row: each thing once, in little memory for each."""

from typing import Final

from bulkdl.manifest.base import ManifestRow
from bulkdl.manifest.digest_table import DigestTable
from bulkdl.model.selection import folder_of

_WHOLE, _STATED, _IN_PART = 1, 2, 4
_OBJECT: Final = ".dcm"


class ManifestTally:
    """The numbers of what the rows name that were added. A Series that one row names whole is whole.

    `stated_instances` and `stated_bytes` are the sums of what the first rows of Series state. `repeated` counts rows
    that name a Series again.
    """

    def __init__(self) -> None:
        self.collections, self.patients, self.studies = DigestTable(), DigestTable(), DigestTable()
        self.stated_instances = self.stated_bytes = self.repeated = 0
        self._series, self._folders, self._instances = DigestTable(), DigestTable(), DigestTable()
        self._slides = DigestTable()
        self._single: dict[str, int] = {}  # instances named singly, by Series
        self._objects = 0

    @property
    def series_count(self) -> int:
        """The number of Series, of folders of Series, and of slides."""
        return len(self._series) + len(self._folders) + len(self._slides)

    @property
    def instance_count(self) -> int:
        """The number of instances that are named singly, of Series that are not named whole."""
        return sum(self._single.values()) + self._objects

    def add(self, row: ManifestRow) -> None:
        """Count one row."""
        if row.slide is not None:
            self.repeated += not self._slides.add(row.slide.address)
        elif row.series_uid is not None:
            self._add_series(row, row.series_uid)
        elif row.study_uid is not None:
            self.studies.add(row.study_uid)
        elif row.patient_id:
            self.patients.add(row.collection, row.patient_id)
        elif row.place is not None:
            self._folders.add(folder_of(row.place))
            self._objects += row.place.endswith(_OBJECT) and self._instances.add(row.place)
        else:
            self.collections.add(row.collection)

    def _add_series(self, row: ManifestRow, uid: str) -> None:
        if row.sop_uid is not None:
            is_whole = self._series.mark(_IN_PART, uid) & _WHOLE
            if not is_whole and self._instances.add(uid, row.sop_uid):
                self._single[uid] = self._single.get(uid, 0) + 1
            return
        states = row.image_count is not None or row.size_bytes is not None
        before = self._series.mark(_WHOLE | (_STATED if states else 0), uid)
        self.repeated += bool(before & _WHOLE)
        if before & _IN_PART:
            self._single.pop(uid, None)
        if states and not before & _STATED:
            self.stated_instances += row.image_count or 0
            self.stated_bytes += row.size_bytes or 0
