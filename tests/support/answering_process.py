"""A small process that answers each number with its double, and dies at 0."""

from __future__ import annotations

import os
import sys

from bulkdl.runtime.processes import answer_all


def answer(number: int) -> int:
    if number == 0:
        os._exit(3)
    return 2 * number


def main() -> None:
    answer_all(answer, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
