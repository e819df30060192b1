"""The report of `ls`."""

from dataclasses import dataclass
from typing import Any

from bulkdl.model.data_sets import DataSet, DataSetKind, ListedStudy, PatientTotal, SourceReport
from bulkdl.model.reports.base import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class LsReport(Report):
    """The report of `ls`: data sets, or of one of them its Patients, or of a Patient the Studies with their Series.

    `patients` and `studies` are None where they are not listed. `search` is the text that everything listed has.
    `archive` is an address, and `archive_name` what the archive was called, None for the default one.
    """

    archive: str
    archive_name: str | None = None
    data_sets: tuple[DataSet, ...] = ()
    patients: tuple[PatientTotal, ...] | None = None
    studies: tuple[ListedStudy, ...] | None = None
    search: str | None = None
    sources: tuple[SourceReport, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is listed."""
        listed = self.data_sets if self.patients is None and self.studies is None else (self.patients or self.studies)
        return not listed

    def as_json(self) -> dict[str, Any]:
        """The document of `ls --json`."""
        by_kind = {kind: [each.as_json() for each in self.data_sets if each.kind is kind] for kind in DataSetKind}
        return {
            **self._values("archive", "search"),
            "collections": by_kind[DataSetKind.COLLECTION],
            "analysis_results": by_kind[DataSetKind.ANALYSIS_RESULT],
            "patients": None if self.patients is None else [each.as_json() for each in self.patients],
            "studies": None if self.studies is None else [each.as_json() for each in self.studies],
            "sources": [each.as_json() for each in self.sources],
        }

    def as_text(self, width: int | None = None) -> str:
        from bulkdl.model.listings import listing_text  # noqa: PLC0415 - it imports this module

        return listing_text(self, width)

    def complaint(self) -> str | None:
        return f"nothing is found with {self.search!r}" if self.search is not None and self.is_empty else None
