"""`bulkdl` on a disk that fails at the n-th call and ever after: quotas and input/output errors, on order.

`python -m tests.support.failing_disk ERRNO:POINT:N ARGUMENTS…` runs `bulkdl ARGUMENTS…`; the N-th call of `write`,
`fsync` or `rename` (of files, in this process), and all after it, raise the OSError that ERRNO names, such as EDQUOT.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

from tests.support.fault_points import Point

POINTS = {"write": "write", "fsync": "fsync", "rename": "replace"}


def failing(call: Callable[..., Any], number: int, at: int) -> Callable[..., Any]:
    """`call`, until it is the `at`-th time; from then on the error of that number."""
    point = Point(at)
    has_failed = False

    def replacement(*arguments: Any, **named: Any) -> Any:
        nonlocal has_failed
        has_failed = point.is_now() or has_failed
        if has_failed:
            raise OSError(number, os.strerror(number))
        return call(*arguments, **named)

    return replacement


def main() -> None:
    name, point, at = sys.argv.pop(1).split(":")
    call = POINTS[point]
    setattr(os, call, failing(getattr(os, call), getattr(errno, name), int(at)))
    from bulkdl.__main__ import main as bulkdl_main  # noqa: PLC0415 - after the call was replaced

    sys.exit(bulkdl_main())


if __name__ == "__main__":
    main()
