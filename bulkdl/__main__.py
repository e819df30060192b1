"""`python -m bulkdl`, and the console script `bulkdl`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from bulkdl.cli.signals import ignore_signals, raise_on_signals


def main() -> int:
    """Run the command that the process was started with; the exit code."""
    try:
        raise_on_signals()
        from bulkdl.cli.main import run  # noqa: PLC0415 - here, so that Ctrl-C is met during imports as well

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        print("bulkdl: interrupted before anything was done", file=sys.stderr)  # noqa: T201 - the command's own voice
        return 130
    finally:
        ignore_signals()  # the exit code is settled; one that comes while Python shuts down must not change it


def command() -> NoReturn:
    """The console script. It ends without taking the interpreter apart: that takes 0.1 s after a mirror (measured).

    Nothing is left to do by then: files are closed, threads joined, children waited for; see `cli.runner`.
    """
    code = main()
    with suppress(OSError, ValueError):  # a reader that went away, or a stream that was closed from the start
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    command()
