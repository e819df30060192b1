"""The program of a process that checks slides: with numpy, which the others do without, and with a limit of memory."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from bulkdl.errors import BulkdlError, InvalidInstance
from bulkdl.runtime.processes import answer_all
from bulkdl.slides.container import check_container

_MOST_BYTES: Final = 768 << 20


def main() -> None:
    """Check one slide after the other, until there are no more."""
    import tifffile  # noqa: F401, PLC0415 - what it takes does not count

    _limit_memory()
    answer_all(_answer, sys.stdin.buffer, sys.stdout.buffer)


def _limit_memory() -> None:
    """Limit the address space to a little more than now. Elsewhere than on Linux only time is limited."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - Windows does not have it

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + _MOST_BYTES
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))


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
