"""Whether an archive refuses every instance, although it lists them: a login may be missing."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from bulkdl.errors import AccessDenied, ArchiveRefused
from bulkdl.model.outcomes import InstanceOutcome

_SERIES: Final = 6
_INSTANCES: Final = 32


class RefusedInstances:
    """Counts instances that were refused, by Series, until one was not refused."""

    def __init__(self) -> None:
        self._refused: Counter[str] | None = Counter()

    def accepts(self) -> None:
        """The archive accepted a request: one that is refused says nothing of others."""
        self._refused = None

    def ended(self, outcomes: Sequence[InstanceOutcome]) -> None:
        """Account for outcomes.

        Raises:
            ArchiveRefused: instances of many Series were refused, and none was not.
        """
        if self._refused is None:
            return
        for outcome in outcomes:
            if outcome.error != AccessDenied.code:
                self.accepts()
                return
            self._refused[outcome.series_uid] += 1
            if len(self._refused) >= _SERIES and self._refused.total() >= _INSTANCES:
                self.accepts()  # so that this is said once
                raise ArchiveRefused(f"every instance is refused: {outcome.message}")
