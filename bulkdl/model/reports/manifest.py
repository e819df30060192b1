"""The reports of the `manifest` commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkdl.model.formatting import counted
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import Failure, Report, RunOutcome, documents, given
from bulkdl.model.reports.phrases import absence_complaint, unanswered_lines
from bulkdl.model.text import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestReport(Report):
    """The report of `manifest_show`: how many of what a manifest names.

    `instances` are named singly. `stated_instances` and `stated_bytes` are sums of what it states of its Series.
    """

    manifest: str
    format: str
    collections: int
    patients: int
    studies: int
    series: int
    instances: int
    stated_instances: int
    stated_bytes: int
    settings: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `manifest show --json`."""
        return {
            **self._values("manifest", "format", "collections", "patients", "studies", "series", "instances"),
            "stated": {"instances": self.stated_instances, "bytes": self.stated_bytes},
            "settings": self.settings,
            "notes": list(self.notes),
        }

    def as_text(self, width: int | None = None) -> str:
        numbers = [
            *([counted(self.collections, "collection")] if self.collections else []),
            *([counted(self.patients, "patient")] if self.patients else []),
            *([counted(self.studies, "study")] if self.studies else []),
            f"{self.series:,} series",
            *([f"{counted(self.instances, 'instance')} named singly"] if self.instances else []),
        ]
        stated = [
            *([counted(self.stated_instances, "instance")] if self.stated_instances else []),
            *([human_bytes(self.stated_bytes)] if self.stated_bytes else []),
        ]
        return "\n".join(
            [
                f"{one_line(self.manifest)} ({self.format}): {', '.join(numbers)}",
                *([f"stated: {', '.join(stated)}"] if stated else []),
                *(one_line(f"{key}={value}") for key, value in self.settings.items()),
                *map(one_line, self.notes),
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestWritten(Report):
    """The report of what writes a manifest: how many Series it has, and how many rows name single instances.

    Of a lock, `proofs` counts the instances by the strongest thing that it knows of their bytes: `sha256`, `md5`,
    `size` or `uid`. `failures` are what was requested by name and is not in it.
    """

    format: str
    series: int
    instances: int = 0
    notes: tuple[str, ...] = ()
    proofs: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `manifest convert --json`."""
        return {
            **self._values("format", "series", "instances"),
            "notes": list(self.notes),
            **given(proofs=dict(self.proofs), failures=documents(self.failures)),
        }

    def as_text(self, width: int | None = None) -> str:
        kind = "instance" if self.format == "lock" else "single instance"
        single = f", {counted(self.instances, kind)}" if self.instances else ""
        return "\n".join([f"{self.series:,} series{single} written as {self.format}", *unanswered_lines(self.failures)])

    def complaint(self) -> str | None:
        return absence_complaint(self.failures)

    @property
    def ending(self) -> RunOutcome:
        return RunOutcome.PARTIAL if self.failures else RunOutcome.COMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestDifference(Report):
    """The report of `manifest_diff`: what only the first manifest has, only the second, and what they state otherwise.

    Each text begins with the level: `series 1.2.3`.
    """

    first: str
    second: str
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether there is no difference."""
        return not (self.removed or self.added or self.changed)

    def as_json(self) -> dict[str, Any]:
        """The document of `manifest diff --json`."""
        lists = {name: list(getattr(self, name)) for name in ("removed", "added", "changed")}
        return {**self._values("first", "second"), "same": self.is_same, **lists}

    def as_text(self, width: int | None = None) -> str:
        if self.is_same:
            return f"{one_line(self.first)} and {one_line(self.second)} name the same"
        marked = (("-", self.removed), ("+", self.added), ("~", self.changed))
        return "\n".join(f"{mark} {one_line(text)}" for mark, texts in marked for text in texts)

    @property
    def ending(self) -> RunOutcome:
        return RunOutcome.COMPLETE if self.is_same else RunOutcome.PARTIAL
