"""A decoder that dies of every file: of the signal in `DECODER_DIES_BY`, or before it greets if there is none."""

from __future__ import annotations

import os
import sys

from bulkdl.runtime.processes import answer_all


def die(_: object) -> object:
    os.kill(os.getpid(), int(os.environ["DECODER_DIES_BY"]))
    raise SystemExit("it is alive")


if __name__ == "__main__" and "DECODER_DIES_BY" in os.environ:
    answer_all(die, sys.stdin.buffer, sys.stdout.buffer)
