"""Texts by number, on the disk if they are many: those that the cells of a workbook refer to."""

import tempfile
from array import array
from contextlib import ExitStack
from typing import IO, Final

_MOST_IN_MEMORY: Final = 100_000


class StoredTexts:
    """Texts in the order in which they are added: some in memory, the others in a file, which `close` removes."""

    def __init__(self, *, most_in_memory: int = _MOST_IN_MEMORY) -> None:
        self._most = most_in_memory
        self._in_memory: list[str] = []
        self._ends = array("Q", [0])
        self._open = ExitStack()
        self._file: IO[bytes] | None = None

    def add(self, text: str) -> None:
        """Add a text. OSError: it cannot be stored."""
        if self._file is None and len(self._in_memory) < self._most:
            self._in_memory.append(text)
            return
        if self._file is None:
            self._file = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - `close` ends it
        content = text.encode("utf-8", "surrogatepass")
        self._file.seek(0, 2)
        self._file.write(content)
        self._ends.append(self._ends[-1] + len(content))

    def __getitem__(self, number: int) -> str:
        if number < len(self._in_memory):
            return self._in_memory[number]
        at = number - len(self._in_memory)
        begin, end = self._ends[at], self._ends[at + 1]
        if self._file is None:
            raise IndexError(number)
        self._file.seek(begin)
        return self._file.read(end - begin).decode("utf-8", "surrogatepass")

    def close(self) -> None:
        """Remove the file."""
        self._open.close()
