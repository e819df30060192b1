"""The report of `cite`."""

from dataclasses import dataclass
from typing import Any

from bulkdl.model.formatting import counted
from bulkdl.model.reports.base import Report, documents


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedDataSet:
    """A Collection, a part of one, or an analysis result, that is cited. Counts are of what is held, or selected.

    `is_cited_by_archive`: the archive says how; otherwise the reference has a name and the DOI alone.
    """

    doi: str | None
    title: str
    collections: tuple[str, ...]
    is_analysis_result: bool
    series: int
    instances: int
    size_bytes: int
    licenses: tuple[str, ...]
    is_cited_by_archive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CiteReport(Report):
    """The references of data sets: `text` in the wanted `format`, `references` as CSL-JSON.

    `lock_sha256` is the digest of the lock of the mirror.
    """

    mirror: str | None
    archive: str
    format: str
    text: str
    paragraph: str
    data_sets: tuple[CitedDataSet, ...]
    references: tuple[dict[str, Any], ...]
    lock_sha256: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The document of `cite --json`."""
        return {
            **self._values("mirror", "archive", "paragraph", "lock_sha256"),
            "data_sets": documents(self.data_sets),
            "references": list(self.references),
        }

    def as_text(self, width: int | None = None) -> str:
        if self.format != "text":
            return self.text.rstrip("\n")
        return f"{self.text}\nData availability\n\n{self.paragraph}"

    def complaint(self) -> str | None:
        unknown = sum(not each.is_cited_by_archive for each in self.data_sets)
        which = f"{counted(unknown, 'data set')} {'has' if unknown == 1 else 'have'}"
        return f"{which} a name and a DOI at most: the archive gives no citation" if unknown else None
