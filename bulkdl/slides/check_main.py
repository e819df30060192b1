"""The program of a process that checks slides: with numpy, which the others do without, and with a limit of memory."""

import sys
from pathlib import Path
from typing import Final

from bulkdl.errors import BulkdlError, InvalidInstance
from bulkdl.runtime.processes import answer_all, limit_memory
from bulkdl.slides.container import check_container

_MOST_BYTES: Final = 768 << 20


def main() -> None:
    """Check one slide after the other, until there are no more."""
    import tifffile  # noqa: F401, PLC0415 - what it takes does not count

    limit_memory(_MOST_BYTES)
    answer_all(_answer, sys.stdin.buffer, sys.stdout.buffer)


def _answer(source: bytes | Path) -> BulkdlError | bool:
    try:
        check_container(source)
    except BulkdlError as error:
        return error
    except MemoryError:
        return InvalidInstance("the directories of the TIFF take too much memory")
    except OSError as error:
        return InvalidInstance(f"the file cannot be read: {error.strerror}")
    return True


if __name__ == "__main__":
    main()
