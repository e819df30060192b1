"""What a verb returns: counts, failures, problems. `as_json` gives the documents of the command's `--json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class RunOutcome(StrEnum):
    """How a run ended. `partial`: some instances failed for good."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance, or a whole Series (`instance` and `key` None), that is not in the mirror, and why.

    `key` is that of an entry of the archive whose SOP Instance UID is not known.
    """

    series: str
    instance: str | None
    error: str
    message: str
    attempts: int
    key: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The failure in the documents of `--json`; `key` is left out where it says nothing."""
        values = asdict(self)
        if self.key is None:
            del values["key"]
        return values


@dataclass(frozen=True, slots=True)
class SeriesCounts:
    """Series by how they stand. `selected` = `complete` + `failed` + those still owed."""

    selected: int = 0
    complete: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class InstanceCounts:
    """Instances by how they ended the run. After a run to the end, `selected` is the sum of the others."""

    selected: int = 0
    fetched: int = 0
    reused: int = 0
    failed: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What `mirror`, `resume` and repairs return. Bytes are of files, `seconds` is the wall clock's."""

    mirror: str
    archive: str
    run: int
    outcome: RunOutcome
    series: SeriesCounts
    instances: InstanceCounts
    bytes_fetched: int
    bytes_mirror: int
    requests: int
    retries: int
    seconds: float
    failures: tuple[Failure, ...] = ()
    failures_left_out: int = 0

    def as_json(self) -> dict[str, Any]:
        """The document of `mirror --json`."""
        return {
            "mirror": self.mirror,
            "archive": self.archive,
            "run": self.run,
            "outcome": self.outcome.value,
            "series": asdict(self.series),
            "instances": asdict(self.instances),
            "bytes": {"fetched": self.bytes_fetched, "mirror": self.bytes_mirror},
            "requests": self.requests,
            "retries": self.retries,
            "seconds": round(self.seconds, 3),
            "failures": [failure.as_json() for failure in self.failures],
            **({"failures_left_out": self.failures_left_out} if self.failures_left_out else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatus:
    """One Collection of a mirror. Counts of instances; `size_bytes` of what is held."""

    collection: str
    series: int
    instances: int
    held: int
    owed: int
    failed: int
    quarantined: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """What a mirror holds and owes, from its journal alone.

    `unlisted_series` are Series whose instance lists were not asked for yet: what they owe is not counted anywhere.
    `failures_by_error` maps a code to the number of instances, or whole Series, that failed with it.
    """

    mirror: str
    archive: str
    run: int
    running: str | None
    series: SeriesCounts
    selected: int
    held: int
    owed: int
    failed: int
    quarantined: int
    unlisted_series: int
    bytes_mirror: int
    last_outcome: str | None = None
    collections: tuple[CollectionStatus, ...] = ()
    failures_by_error: dict[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `status --json`."""
        return {
            "mirror": self.mirror,
            "archive": self.archive,
            "run": self.run,
            "running": self.running,
            "outcome": self.last_outcome,
            "series": {**asdict(self.series), "unlisted": self.unlisted_series},
            "instances": {
                "selected": self.selected,
                "held": self.held,
                "owed": self.owed,
                "failed": self.failed,
                "quarantined": self.quarantined,
            },
            "bytes": {"mirror": self.bytes_mirror},
            "collections": [asdict(entry) for entry in self.collections],
            "errors": self.failures_by_error,
            "failures": [failure.as_json() for failure in self.failures],
        }


class ProblemKind(StrEnum):
    """How a file disagrees with the journal, or (`differs`) a whole Series with the archive."""

    MISSING = "missing"
    TRUNCATED = "truncated"
    ALTERED = "altered"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Problem:
    """One file that disagrees with the journal. `path` is relative to the mirror; a foreign file has no `instance`.

    Where a Series differs from the archive's, `path` is its folder, `series` its UID, and `message` says in what.
    """

    path: str
    problem: ProblemKind
    instance: str | None = None
    series: str | None = None
    message: str | None = None

    def as_json(self) -> dict[str, Any]:
        """An entry of `problems`; what does not apply to it is left out."""
        values = {"path": self.path, "problem": self.problem.value, "instance": self.instance}
        further = {"series": self.series, "message": self.message}
        return {**values, **{name: value for name, value in further.items() if value is not None}}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` found. `repair` is the report of the repairs, where they were asked for.

    `series_compared` counts the Series that were held against the archive's, None where that was not asked for.
    """

    mirror: str
    series: SeriesCounts
    checked: int
    sound: int
    owed: int
    bytes_checked: int
    seconds: float
    problems: tuple[Problem, ...] = ()
    repair: RunReport | None = None
    series_compared: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The document of `verify --json`."""
        return {
            "mirror": self.mirror,
            "series": asdict(self.series),
            "instances": {"checked": self.checked, "sound": self.sound, "owed": self.owed},
            "bytes": {"checked": self.bytes_checked},
            "seconds": round(self.seconds, 3),
            "problems": [found.as_json() for found in self.problems],
            **({"compared": {"series": self.series_compared}} if self.series_compared is not None else {}),
            **({"repair": self.repair.as_json()} if self.repair else {}),
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that `adopt` did not take, and why; `path` is relative to the folder that was adopted."""

    path: str
    error: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptReport:
    """What `adopt` took in.

    `found` = `adopted` + `already` (in the mirror before, or found twice) + `refused`. `others` are files that are no
    DICOM, or no business of ours; they were left alone. `series` had instances adopted, `bytes_adopted` are theirs.
    """

    mirror: str
    source: str
    run: int
    outcome: RunOutcome
    series: int
    found: int
    adopted: int
    already: int
    refused: int
    others: int
    bytes_adopted: int
    bytes_mirror: int
    seconds: float
    problems: tuple[Refusal, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `adopt --json`."""
        return {
            "mirror": self.mirror,
            "source": self.source,
            "run": self.run,
            "outcome": self.outcome.value,
            "series": {"adopted": self.series},
            "instances": {
                "found": self.found,
                "adopted": self.adopted,
                "already": self.already,
                "refused": self.refused,
            },
            "files": {"others": self.others},
            "bytes": {"adopted": self.bytes_adopted, "mirror": self.bytes_mirror},
            "seconds": round(self.seconds, 3),
            "problems": [asdict(problem) for problem in self.problems],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """What a mirror of the selection would take.

    `bytes_selected` and `instances_selected` are the archive's own words; `exact` is False where it gave none for some
    Series. `seconds_expected` is None where nothing is known of the archive's speed.
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
    collections: tuple[CollectionStatus, ...] = ()
    failures: tuple[Failure, ...] = ()
    series_uids: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `plan --json`, without the list of Series: it may be long, and `--save` writes it."""
        return {
            "archive": self.archive,
            "mirror": self.mirror,
            "series": asdict(self.series),
            "instances": {
                "selected": self.instances_selected,
                "held": self.instances_held,
                "owed": self.instances_selected - self.instances_held,
            },
            "bytes": {
                "selected": self.bytes_selected,
                "held": self.bytes_held,
                "free": self.bytes_free,
                "exact": self.exact,
            },
            "requests": self.requests,
            "seconds_expected": self.seconds_expected,
            "collections": [asdict(entry) for entry in self.collections],
            "failures": [failure.as_json() for failure in self.failures],
        }
