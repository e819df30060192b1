"""What `adopt` counts: adopted and refused files, those that the mirror holds already, and what else it found."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Final

from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceOutcome
from bulkdl.model.reports.base import Refusal

_REFUSALS_NAMED: Final = 1_000


class AdoptCounts:
    """The counts of one run. Several threads may count.

    `others` are neither DICOM files nor zips; `problems` names the first thousand refused files, each with its error.
    """

    def __init__(self) -> None:
        self.adopted = self.already = self.refused = self.others = 0
        self.bytes_adopted = self.not_decoded = 0
        self.series: set[SeriesUid] = set()
        self.problems: list[Refusal] = []
        self._lock = Lock()

    @property
    def found(self) -> int:
        """The number of instances, valid or not."""
        return self.adopted + self.already + self.refused

    def add_adopted(self, outcomes: Iterable[InstanceOutcome]) -> None:
        """Count what the journal has recorded."""
        with self._lock:
            for outcome in outcomes:
                self.adopted += 1
                self.series.add(outcome.series_uid)
                self.not_decoded += outcome.is_not_decoded
                self.bytes_adopted += outcome.size_bytes

    def replace_one(self) -> None:
        """Take back one adopted file, instead of which another one is adopted."""
        with self._lock:
            self.adopted -= 1

    def add_already(self) -> None:
        """Count a file that the mirror holds already."""
        with self._lock:
            self.already += 1

    def reject(self, found: str, error: str, message: str) -> None:
        """Count a file that is not adopted; `found` is where it is, `error` a code of `errors`."""
        with self._lock:
            self.refused += 1
            if len(self.problems) < _REFUSALS_NAMED:
                self.problems.append(Refusal(found, error, message))
