"""The report of `plan`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from bulkdl.model.formatting import counted, duration, table
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import Failure, InstanceCounts, Report, RunOutcome, SeriesCounts, documents, given
from bulkdl.model.reports.phrases import MOST_SHOWN, absence_complaint, failure_lines, source_lines
from bulkdl.model.text import one_line

_UNCOUNTED: Final = "The archive does not say how many instances a withdrawn series has: they are not in these numbers"


@dataclass(frozen=True, slots=True)
class PlannedCollection:
    """One Collection of a plan, from one `source` where an archive routes between several.

    `exact` is False where the archive does not give all sizes, so that `size_bytes` is an estimate. `licenses` are the
    names that the archive gives.
    """

    collection: str
    source: str | None
    series: int
    instances: int
    held: int
    owed: int
    size_bytes: int
    exact: bool
    licenses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedLicense:
    """The Series of a plan under one licence; `license` is None where the archive does not say."""

    license: str | None
    series: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport(Report):
    """The report of `plan`: what a mirror of the selection needs.

    `bytes_selected` and `instances_selected` are the archive's numbers; `exact` is False if it has none for a Series,
    whose size is an estimate then. `files_free` is how many files the disk takes, None where it does not say.
    `seconds_expected` is None if the archive's speed is not known. `release` is that of the archive's index, if it has
    one; `withdrawn` counts the Series that only an earlier release has. `notes` and `sources` are as in `RunReport`.
    """

    archive: str
    mirror: str | None
    series: SeriesCounts
    instances_selected: int
    instances_held: int
    bytes_selected: int
    bytes_held: int
    bytes_free: int | None
    exact: bool
    requests: int
    seconds_expected: float | None = None
    files_free: int | None = None
    collections: tuple[PlannedCollection, ...] = ()
    licenses: tuple[PlannedLicense, ...] = ()
    failures: tuple[Failure, ...] = ()
    series_uids: tuple[str, ...] = ()
    release: str | None = None
    withdrawn: int = 0
    notes: tuple[str, ...] = ()
    sources: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The document of `plan --json`, without the list of Series, which may be long; `--save` writes it."""
        return {
            **self._values("archive", "release", "mirror", "withdrawn"),
            **given(sources=dict(self.sources)),
            "series": asdict(self.series),
            "instances": {
                **asdict(InstanceCounts(selected=self.instances_selected, reused=self.instances_held)),
                "held": self.instances_held,
                "owed": self.instances_selected - self.instances_held,
            },
            "bytes": {**self._values("selected", "held", "free", of="bytes_"), "exact": self.exact},
            "files": self._values("free", of="files_"),
            **self._values("requests", "seconds_expected"),
            "collections": documents(self.collections),
            "licenses": [asdict(each) for each in self.licenses],
            "failures": documents(self.failures),
            **given(notes=list(self.notes)),
        }

    def as_text(self, width: int | None = None) -> str:
        owed = self.instances_selected - self.instances_held
        size = _size(self.bytes_selected, is_exact=self.exact)
        selected = "size unknown" if size is None else f"{size} selected"
        sizes = f"{selected}, {human_bytes(self.bytes_held)} held"
        free = f", {human_bytes(self.bytes_free)} free on disk" if self.bytes_free is not None else ""
        files = f" for {self.files_free:,} files" if self.files_free is not None else ""
        requests = f"about {counted(self.requests, 'request')}"
        when = f", about {duration(self.seconds_expected)}" if self.seconds_expected else ""
        release = f", {one_line(self.release)}" if self.release else ""
        withdrawn = f" ({self.withdrawn:,} withdrawn)" if self.withdrawn else ""
        lines = [
            f"From {one_line(self.archive)}{release}" + (f" into {one_line(self.mirror)}" if self.mirror else ""),
            (
                f"{self.series.selected:,} series{withdrawn}, {self.instances_selected:,} instances:"
                f" {self.instances_held:,} held, {owed:,} to download"
            ),
            *([_UNCOUNTED] if self.withdrawn else []),
            sizes + free + files,
            *self._shortage(),
            requests + when,
            *source_lines(self.sources),
            *_licenses(self.licenses),
        ]
        if self.collections:
            lines += ["", _planned(self.collections, width)]
        lines += failure_lines(self.failures, self.mirror or "", asked=True)
        return "\n".join(lines)

    def _shortage(self) -> list[str]:
        """What the disk lacks; nothing where the rest fits."""
        owed, owed_bytes = self.instances_selected - self.instances_held, self.bytes_selected - self.bytes_held
        lacks = []
        if self.bytes_free is not None and owed_bytes > self.bytes_free:
            lacks.append(human_bytes(owed_bytes - self.bytes_free))
        if self.files_free is not None and owed > self.files_free:
            lacks.append(f"room for {owed - self.files_free:,} files")
        return [f"It does not fit on the disk: {' and '.join(lacks)} are missing"] if lacks else []

    def complaint(self) -> str | None:
        return absence_complaint(self.failures)

    @property
    def ending(self) -> RunOutcome:
        return RunOutcome.PARTIAL if self.failures else RunOutcome.COMPLETE


def _size(size_bytes: int, *, is_exact: bool) -> str | None:
    """What is stated or estimated; None where an archive, such as one of DICOMweb, gives no sizes at all."""
    if is_exact:
        return human_bytes(size_bytes)
    return f"about {human_bytes(size_bytes)}" if size_bytes else None


def _licenses(licenses: Sequence[PlannedLicense]) -> list[str]:
    shown = [
        f"{each.series:,} series under {one_line(each.license or 'a licence that the archive does not give')}"
        + (f", {human_bytes(each.size_bytes)}" if each.size_bytes else "")
        for each in licenses[:MOST_SHOWN]
    ]
    more = len(licenses) - len(shown)
    return [*shown, *([f"… and {more:,} more licences"] if more else [])]


def _planned(entries: Sequence[PlannedCollection], width: int | None) -> str:
    is_routed = any(each.source for each in entries)
    rows = (
        (
            each.collection,
            *([(each.source or "").upper()] if is_routed else []),
            *(f"{count:,}" for count in (each.series, each.instances, each.held, each.owed)),
            _size(each.size_bytes, is_exact=each.exact) or "-",
        )
        for each in entries
    )
    heading = ("collection", *(["source"] if is_routed else []), "series", "instances", "held", "owed", "size")
    return table(heading, rows, width=width, left=2 if is_routed else 1)
