"""Whether an archive is available.

A pure state machine: the clock is an argument, and `attempts` does the waiting.
"""

from __future__ import annotations

from typing import Final

from bulkdl.errors import AccessDenied, ArchiveRefused, RequestFailed


class Refusals:
    """Whether an archive refuses everything of one kind: so many times, and never an answer."""

    _MOST: Final = 48

    def __init__(self) -> None:
        self._count = 0
        self._was_answered = False

    def answered(self) -> None:
        """The archive answered one."""
        self._was_answered = True

    def failed(self, error: RequestFailed) -> None:
        """One failed, perhaps because the archive refused it.

        Raises:
            ArchiveRefused: it refuses everything.
        """
        self._count += isinstance(error, AccessDenied)
        if not self._was_answered and self._count >= self._MOST:
            raise ArchiveRefused(str(error)) from error


class Outage:
    """Whether the archive is away, since when, and when to probe it again.

    An archive is away after a failure that no single request causes: a connection that cannot be made, or a series of
    different requests without an answer (broken off, timed out, or a gateway's 502, 503, 504) and no answer between
    them. While it is away, one request at a time is sent as a probe.

    `is_connected`: whether a connection could be made at last. An archive that is away nevertheless may answer other
    requests than those that were sent.
    """

    _FIRST_PROBE_SECONDS: Final = 1.0
    _SLOWEST_PROBE_SECONDS: Final = 30.0
    _SERIES: Final = 24
    _DIFFERENT: Final = 8  # a few instances that the archive cannot deliver are not an outage

    def __init__(self, give_up_after_seconds: float, *, wait_scale: float = 1.0) -> None:
        self._give_up_after = give_up_after_seconds
        self._first_probe = self._FIRST_PROBE_SECONDS * wait_scale
        self._slowest_probe = self._SLOWEST_PROBE_SECONDS * wait_scale
        self.since: float | None = None
        self.probe_at = 0.0
        self.is_connected = True
        self._probe_wait = self._first_probe
        self._unanswered = 0
        self._unanswered_names: set[str] = set()

    @property
    def is_away(self) -> bool:
        """Whether the archive is away."""
        return self.since is not None

    def is_hopeless(self, now: float) -> bool:
        """Whether the archive has been away for too long."""
        return self.since is not None and now - self.since >= self._give_up_after

    def answered(self) -> None:
        """The archive answered; a refusal of one request is an answer too."""
        self.since = None
        self.is_connected = True
        self._unanswered = 0
        self._unanswered_names.clear()
        self._probe_wait = self._first_probe

    def went_unanswered(self, what: str, now: float) -> bool:
        """The archive did not answer `what`; returns as `unreachable` does."""
        self.is_connected = True
        self._unanswered += 1
        if len(self._unanswered_names) < self._DIFFERENT:
            self._unanswered_names.add(what)
        if self.is_away or (self._unanswered >= self._SERIES and len(self._unanswered_names) >= self._DIFFERENT):
            return self._fails(now)
        return False

    def unreachable(self, now: float) -> bool:
        """No connection could be made; returns whether this begins an outage or is a failed probe.

        Requests that were running when the archive went away fail a little later; they do not delay the next probe.
        """
        self.is_connected = False
        return self._fails(now)

    def _fails(self, now: float) -> bool:
        if self.since is None:
            self.since = now
        elif now < self.probe_at:
            return False
        else:
            self._probe_wait = min(self._probe_wait * 2, self._slowest_probe)
        remaining = max(0.0, self.since + self._give_up_after - now)
        self.probe_at = now + min(self._probe_wait, remaining)
        return True
