"""How far a run, a verification or an adoption is: the parts of the texts that show it. Pure."""

from collections.abc import Callable
from typing import Final, NamedTuple

from bulkdl.model.events import Adopting, Event, Progress, Verifying, Working
from bulkdl.model.formatting import counted, duration
from bulkdl.model.quantities import human_bytes
from bulkdl.model.text import one_line
from bulkdl.model.transfer_rate import RemainingTime, TransferRate

Clock = Callable[[], float]

_LONGEST_SECONDS: Final = 100 * 3600
"""A longer remaining time is not worth a number: too little has arrived yet."""
_LEAST_SECONDS: Final = 0.1


class WorkState(NamedTuple):
    """How far the work is. `done` of `total` are bytes or items; a total of 0 is not known.

    `amount` says both; `details` are further counts, the most important ones first; `problems` count what failed.
    `is_estimate`: the remaining time is a guess.
    """

    title: str
    done: float
    total: int
    amount: str
    bytes_per_second: float
    seconds_left: float | None
    details: tuple[str, ...] = ()
    problems: str = ""
    at_work: str = ""
    has_bytes: bool = True
    is_estimate: bool = False

    @property
    def share(self) -> float | None:
        """The share that is done, at most 1; None where it is not known."""
        return min(1.0, self.done / self.total) if self.total > 0 else None

    @property
    def percent(self) -> str:
        """The share for people, rounded down: only what is whole is 100 %. Empty where it is not known."""
        return "" if self.share is None else f"{int(self.share * 100)}%"

    @property
    def rate(self) -> str:
        """The rate for people; empty where no bytes are counted."""
        return "" if not self.has_bytes else f"{human_bytes(round(self.bytes_per_second))}/s"

    @property
    def left(self) -> str:
        """The remaining time for people; empty where it is not known."""
        if self.seconds_left is None or self.seconds_left > _LONGEST_SECONDS or self.share == 1:
            return ""
        return f"{'about ' if self.is_estimate else ''}{duration(max(_LEAST_SECONDS, self.seconds_left))} left"

    def __str__(self) -> str:
        """One line: `36%, 31.2 MB of 87.1 MB, 2.0 MB/s, 28 s left, 42 of 96 series, …`."""
        parts = (self.percent, self.title, self.amount, self.rate, self.left, self.problems, *self.details)
        return ", ".join(filter(None, parts))


class WorkStates:
    """Makes a WorkState of each event that has counts. It measures the rate of those that have none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kind: type[Event] | None = None
        self._rate, self._remaining = TransferRate(clock), RemainingTime(clock)

    def of(self, event: Event) -> WorkState | None:
        """The state of an event; None for one without counts."""
        match event:
            case Progress():
                return state_of_run(event)
            case Verifying():
                state = self._state_of_verification(event)
            case Adopting():
                state = WorkState(
                    "adopting",
                    event.adopted,
                    event.found,
                    f"{event.adopted:,} of {event.found:,} instances adopted",
                    *self._measured(event, event.bytes_adopted, event.adopted + event.refused, event.found),
                    problems=f"{event.refused:,} rejected" if event.refused else "",
                )
            case Working():
                state = WorkState(
                    event.task,
                    event.done,
                    event.total,
                    f"{event.done:,}{f' of {event.total:,}' if event.total else ''} {event.unit}",
                    *(self._measured(event, 0, event.done, event.total) if event.total else (0.0, None)),
                    has_bytes=False,
                )
            case _:
                return None
        return state

    def _state_of_verification(self, event: Verifying) -> WorkState:
        """The state of a verification: by its bytes, or by its files where these are not read."""
        files, total = f"{event.checked:,} of {event.held:,} files", event.bytes_held
        left = max(0, total - event.bytes_checked) if total else None
        is_whole = event.checked >= event.held
        return WorkState(
            "verifying",
            min(event.bytes_checked, total if is_whole else total - 1e-3) if total else event.checked,
            total or event.held,
            f"{human_bytes(event.bytes_checked)} of {human_bytes(total)}" if total else files,
            *self._measured(event, event.bytes_checked, event.checked, event.held, left),
            details=(files,) if total else (),
            problems=_count(event.problems, "problem"),
        )

    def _measured(
        self, event: Event, size_bytes: int, done: int, total: int, bytes_left: int | None = None
    ) -> tuple[float, float | None]:
        if self._kind not in {None, type(event)}:
            self._rate = TransferRate(self._clock, first=size_bytes)
            self._remaining = RemainingTime(self._clock, first_bytes=size_bytes, first_instances=done)
        self._kind = type(event)
        self._rate.add(size_bytes)
        self._remaining.add(size_bytes, done)
        return self._rate.per_second(), self._remaining.seconds(
            bytes_left=bytes_left, instances_left=max(0, total - done)
        )


def state_of_run(event: Progress) -> WorkState:
    """The state of a run: by its bytes where all sizes are known, else by its instances."""
    ended = event.instances_held + event.instances_failed
    if event.bytes_left is not None and event.bytes_selected:
        done, total = float(event.bytes_selected - event.bytes_left), event.bytes_selected
        amount = f"{human_bytes(max(0, round(done)))} of {human_bytes(total)}"
    else:
        done, total = ended + event.instances_arriving, event.instances_selected
        amount = f"{human_bytes(event.bytes_fetched)} downloaded"
    return WorkState(
        "resolving" if event.resolving else "",
        max(0.0, done if ended == event.instances_selected else min(done, total - 1e-3)),
        total,
        amount,
        event.bytes_per_second,
        event.seconds_left,
        (
            f"{event.series_done:,} of {event.series_selected:,} series",
            f"{event.instances_held:,} of {event.instances_selected:,} instances",
            *filter(None, (_count(event.retries, "retry"),)),
            f"{event.in_flight:,} of {event.limit:,} in flight",
        ),
        f"{event.instances_failed:,} failed" if event.instances_failed else "",
        ", ".join(map(one_line, event.at_work)),
        is_estimate=event.bytes_left is None,
    )


def _count(count: int, word: str) -> str:
    return counted(count, word) if count else ""
