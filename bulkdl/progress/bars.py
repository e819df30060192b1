"""Progress on a terminal: a bar, and below it a line of counts. In a notebook: a bar."""

from typing import Any, Final, TextIO, cast

from bulkdl.model.events import Event
from bulkdl.model.text import cells, fitted
from bulkdl.model.work_states import Clock, WorkState, WorkStates
from bulkdl.progress.lines import Display, FailureLines, announcement
from bulkdl.progress.unblocked_terminal import UnblockedTerminal
from bulkdl.runtime.terminal import coloured, width_of

# Some terminals report 0 columns and 0 rows, and tqdm then draws nothing.
_COLUMNS: Final = 80
_NOTEBOOK_COLUMNS: Final = 100
_ROWS: Final = 20
_LEAST_BAR: Final = 10  # cells of the bar, which texts may not take
_FRAME: Final = len("100% || ")


class Bars(Display):
    """A bar for what is in progress, with the line of counts below it.

    It appears with the first counts, so that a run that never begins shows none.
    """

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - only bars need it, and it costs 25 ms; later, it may be disabled

        super().__init__(stream, clock)
        self._terminal = UnblockedTerminal(stream)
        self._stream = cast("TextIO", self._terminal)
        self._tqdm = tqdm
        self._states = WorkStates(clock)
        self._failures = FailureLines()
        self._rows: list[Any] = []  # of tqdm
        self._of: type[Event] | None = None

    def show(self, event: Event) -> None:
        """See Display."""
        if (state := self._states.of(event)) is not None:
            if self._terminal.is_stuck:
                return
            if not self._rows or self._of is not type(event):
                self._end_rows()
                self._of = type(event)
                self._rows = [self._row(position) for position in range(self._height())]
            self._draw(state)
        elif (text := announcement(event, retries=self.is_verbose)) is not None:
            self._tqdm.write(text, file=self._stream)
        elif (text := self._failures.of(event)) is not None:
            self._tqdm.write(coloured(text, "yellow", self._stream), file=self._stream)

    def close(self) -> None:
        """See Display."""
        self._end_rows()
        self._terminal.close()

    def _end_rows(self) -> None:
        for row in self._rows:
            row.close()
        self._rows = []

    def _height(self) -> int:
        return 2

    def _columns(self) -> int:
        return width_of(self._stream) or _COLUMNS

    def _row(self, position: int) -> Any:
        return self._tqdm(
            total=1, file=self._stream, position=position, bar_format="{desc}", ncols=_COLUMNS, nrows=_ROWS
        )

    def _draw(self, state: WorkState) -> None:
        columns = self._columns()
        for row, text in zip(self._rows, (bar_text(state, columns), self._counts(state, columns)), strict=False):
            row.ncols = columns
            row.total, row.n = (state.total, min(state.done, state.total)) if state.total else (1, 0)
            row.bar_format = text
            row.refresh()

    def _counts(self, state: WorkState, columns: int) -> str:
        problems = coloured(state.problems, "yellow", self._stream)
        counts = counts_text(state, columns - len(state.problems) - 2 if problems else columns)
        return _literal(", ".join(filter(None, (problems, counts))))


class NotebookBars(Bars):
    """One bar: the output of a notebook cell has no second line that could be drawn anew."""

    def _height(self) -> int:
        return 1

    def _columns(self) -> int:
        return _NOTEBOOK_COLUMNS


def bar_text(state: WorkState, columns: int) -> str:
    """The line of the bar as a format of tqdm: with as many of its texts as leave room for the bar."""
    begin = f"{state.title} " if state.title else ""
    if state.share is None:
        return _literal(begin + ", ".join(filter(None, (state.amount, state.rate))))
    choices = ((state.amount, state.rate, state.left), (state.amount, state.left), (state.left or state.amount,))
    room = columns - len(begin) - _FRAME - _LEAST_BAR
    text = next((text for texts in choices if len(text := ", ".join(filter(None, texts))) <= room), "")
    return f"{_literal(begin)}{state.percent:>4} |{{bar}}| {_literal(text)}"


def counts_text(state: WorkState, columns: int) -> str:
    """The line of counts: those that fit, the most important ones first, and last what is at work."""
    text = ""
    for part in state.details:
        longer = f"{text}, {part}" if text else part
        if cells(longer) > columns:
            return text
        text = longer
    room = columns - len(text) - 2
    return f"{text}; {fitted(state.at_work, room)}" if state.at_work and room > _LEAST_BAR else text


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
