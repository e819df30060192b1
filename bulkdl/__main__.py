"""`python -m bulkdl`, and the console script `bulkdl`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from bulkdl.cli.signals import ignore_signals, raise_on_signals
from bulkdl.runtime.garbage import collect_less_often


def main() -> int:
    """Run the command of this process; return its exit code."""
    try:
        raise_on_signals()
        from bulkdl.cli.main import run  # noqa: PLC0415 - late, so that Ctrl-C works during imports as well

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        print("bulkdl: interrupted before anything was done", file=sys.stderr)  # noqa: T201 - the output of the command
        return 130
    finally:
        ignore_signals()  # a signal during the shutdown of Python must not change the exit code


def command() -> NoReturn:
    """The console script. It skips the shutdown of the interpreter, which takes 0.1 s after a mirror (measured).

    Files are closed and threads and child processes have ended by then; see `cli.runner`.
    """
    collect_less_often()
    code = main()
    with suppress(OSError, ValueError):  # a reader that went away, or a stream that was closed from the start
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    command()
