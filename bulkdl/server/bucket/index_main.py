"""The process of `IndexFile`: makes the index of the bucket."""

import sys
from pathlib import Path

from bulkdl.errors import BulkdlError
from bulkdl.runtime.processes import answer_all
from bulkdl.server.bucket.index import make_index


def main() -> None:
    """Answer questions until there are no more."""
    answer_all(_answer, sys.stdin.buffer, sys.stdout.buffer)


def _answer(question: tuple[Path, frozenset[str]]) -> bool | BulkdlError:
    try:
        make_index(*question)
    except BulkdlError as error:
        return error
    return True


if __name__ == "__main__":
    main()
