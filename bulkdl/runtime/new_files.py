"""Files for results, which a user names: each takes its place when it is complete; until then an earlier one stays."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from bulkdl.runtime.disk import disk_errors


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its place at the end of the block; one that cannot be completed leaves no trace.

    It has the permissions of the file that it replaces. What is not a regular file, such as a pipe, is written itself.

    Raises:
        DiskError: it cannot be written.
    """
    with disk_errors("write", path):
        final = path.resolve()  # a link stays, and names the new file
        if final.exists() and not final.is_file():
            with final.open("wb") as file:
                yield file
            return
        partial = final.with_name(f"{final.name}.partial")
        try:
            with partial.open("wb") as file:
                if final.exists():
                    partial.chmod(final.stat().st_mode)
                yield file
            partial.replace(final)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def new_text_file(path: Path) -> Iterator[TextIO]:
    """As `new_file`, for text in UTF-8 whose line ends stay as they are."""
    with new_file(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        yield text
