"""The report of `report`: what the page says of a mirror."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bulkdl.model.formatting import counted
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import Report, documents
from bulkdl.model.reports.log import RunSummary
from bulkdl.model.reports.status import StatusReport


@dataclass(frozen=True, slots=True)
class Group:
    """The sums of the Series with one value of an attribute. `instances` and `bytes` are of those held."""

    name: str
    series: int
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SeriesFinding:
    """What a Series lacks, or what differs within it; `kind` is stable, for programs."""

    series: str
    collection: str
    patient: str
    modality: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorReport(Report):
    """What `report` writes to `page`, at the moment `made` (ISO 8601, UTC).

    `groups` are sums by the values of an attribute, such as `modality`. `series_read` is the number of Series whose
    headers were read; 0: the findings are those of the journal alone.
    """

    mirror: str
    page: str
    made: str
    version: str
    status: StatusReport
    groups: Mapping[str, tuple[Group, ...]]
    runs: tuple[RunSummary, ...]
    findings: tuple[SeriesFinding, ...]
    series_read: int

    @property
    def archive(self) -> str:
        """The archive of the last run."""
        return self.status.archive

    def as_json(self) -> dict[str, Any]:
        """The document of `report --json`."""
        return {
            **self._values("mirror", "page", "made"),
            "series": asdict(self.status.series),
            "instances": {**asdict(self.status.instances), "held": self.status.held, "owed": self.status.owed},
            "bytes": {"mirror": self.status.bytes_mirror},
            "groups": {name: documents(groups) for name, groups in self.groups.items()},
            "findings": documents(self.findings),
            "series_read": self.series_read,
        }

    def as_text(self, width: int | None = None) -> str:
        status, kinds = self.status, Counter(finding.kind for finding in self.findings)
        held = f"{counted(status.held, 'instance')} in {status.series.selected:,} series"
        lines = [f"{held}, {human_bytes(status.bytes_mirror)}; the report is {self.page}"]
        return "\n".join([*lines, *(f"{kind}: {count:,} series" for kind, count in sorted(kinds.items()))])
