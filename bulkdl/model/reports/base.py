"""What every report is, and the values that several reports have."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

_ONLY_IF_GIVEN: Final = frozenset({"key", "series", "message"})


class RunOutcome(StrEnum):
    """How a run ended. `partial`: some instances failed."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Report(ABC):
    """What every report has: `str(report)` is its text for people, `as_json` the document of `--json`."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        """The text as a notebook shows it."""
        from html import escape  # noqa: PLC0415 - late: only notebooks need it

        return f"<pre>{escape(self.as_text())}</pre>"

    @abstractmethod
    def as_text(self, width: int | None = None) -> str:
        """The report for people. Tables are cut to `width` columns, if it is given."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """The document of `--json`."""

    def complaint(self) -> str | None:
        """The line for standard error if something is wrong; None if nothing is."""
        return None

    @property
    def ending(self) -> RunOutcome:
        """How the verb ended. `complete`: nothing that was requested failed, is damaged or is missing."""
        return RunOutcome.COMPLETE

    def _values(self, *names: str, of: str = "") -> dict[str, Any]:
        return {name: getattr(self, of + name) for name in names}


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance, an entry of unknown UID (`key`), or else a whole Series that is not in the mirror, and why."""

    series: str
    instance: str | None
    error: str
    message: str
    attempts: int
    key: str | None = None


@dataclass(frozen=True, slots=True)
class SeriesCounts:
    """Series by state. `selected` = `complete` + `failed` + those still owed."""

    selected: int = 0
    complete: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class InstanceCounts:
    """Instances by outcome of the run. After a complete run `selected` is the sum of the next four.

    In the documents of verbs that download nothing, `reused` are those that the mirror holds, and `fetched` is 0.
    `not_decoded` of them should have been decoded, but no installed decoder supports their pixels.
    """

    selected: int = 0
    fetched: int = 0
    reused: int = 0
    failed: int = 0
    quarantined: int = 0
    not_decoded: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that `adopt` rejected, and why; `path` is relative to the adopted folder."""

    path: str
    error: str
    message: str


def documents(records: Iterable[Any]) -> list[dict[str, Any]]:
    """Records as JSON values; keys that do not apply are left out."""
    return [
        {name: value for name, value in asdict(record).items() if value is not None or name not in _ONLY_IF_GIVEN}
        for record in records
    ]


def given(**values: Any) -> dict[str, Any]:
    """The values that are not empty."""
    return {name: value for name, value in values.items() if value}
