"""Format tables, durations, plurals, and commands to copy. Pure, and light to import."""

import shlex
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from bulkdl.model.text import cells, fitted, one_line

LEAST_WIDTH: Final = 12
"""No column is cut to less than this."""


def command(*words: str) -> str:
    """A command that the reader can copy."""
    return shlex.join(("bulkdl", *words))


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: int | Collection[int] = 1,
    width: int | None = None,
    cut: Collection[int] | None = None,
) -> str:
    """Aligned columns, the first `left` ones, or those of these numbers, to the left.

    In a table wider than `width` the widest of these are cut, or those that `cut` names.
    """
    lines = [tuple(heads), *(tuple(one_line(cell) for cell in row) for row in rows)]
    widths = [max(cells(line[column]) for line in lines) for column in range(len(heads))]
    text = range(left) if isinstance(left, int) else left
    if width is not None:
        _narrow(widths, text if cut is None else cut, width - 2 * (len(heads) - 1))
    return "\n".join(
        "  ".join(
            _padded(fitted(cell, size), size) if column in text else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def fit_columns(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> tuple[list[str], list[list[str]]]:
    """As many of the first columns as fit into `width`, two spaces apart, with their widest cells cut."""
    widths = [max(cells(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    count, taken = 0, -2
    while count < len(widths) and (taken := taken + 2 + min(widths[count], LEAST_WIDTH)) <= width:
        count += 1
    count = max(1, count)
    _narrow(widths, range(count), width - 2 * (count - 1) + sum(widths[count:]))
    cut = [[fitted(cell, size) for cell, size in zip(row[:count], widths, strict=False)] for row in (heads, *rows)]
    return cut[0], cut[1:]


def _narrow(widths: list[int], columns: Collection[int], room: int) -> None:
    """Take from the widest of some columns until all fit into `room`, or each of these has the least width."""
    while sum(widths) > room and columns:
        widest = max(columns, key=widths.__getitem__)
        if widths[widest] <= LEAST_WIDTH:
            return
        widths[widest] -= 1


def _padded(cell: str, size: int) -> str:
    return cell + " " * (size - cells(cell))


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:  # noqa: PLR2004 - below 10 the tenths matter
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def counted(count: int, word: str) -> str:
    """A number, and the form of the word for it: `1,000 retries`."""
    return f"{count:,} {plural(word, count)}"


def plural(word: str, count: int) -> str:
    """The form of the word for `count`."""
    if count == 1:
        return word
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
