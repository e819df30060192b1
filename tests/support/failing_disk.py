"""Run `bulkdl` on a disk that fails from the n-th call on: quotas, input/output errors, folders that cannot be synced.

`python -m tests.support.failing_disk ERRNO:POINT:N ARGUMENTS…` runs `bulkdl ARGUMENTS…`; the N-th call of `write`,
`fsync` or `rename` (of files, in this process), and all after it, raise the OSError that ERRNO names, such as EDQUOT.
At the point `fsync-folder` every `fsync` of a folder raises it, as on some network shares, and N is ignored.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

from tests.support.fault_points import Point

POINTS = {"write": "write", "fsync": "fsync", "rename": "replace"}


def failing(call: Callable[..., Any], number: int, at: int) -> Callable[..., Any]:
    """`call`, which raises the error `number` from the `at`-th time on."""
    point = Point(at)
    has_failed = False

    def replacement(*arguments: Any, **named: Any) -> Any:
        nonlocal has_failed
        has_failed = point.is_now() or has_failed
        if has_failed:
            raise OSError(number, os.strerror(number))
        return call(*arguments, **named)

    return replacement


def without_folder_sync(fsync: Callable[[int], None], number: int) -> Callable[..., None]:
    """`fsync` of a file system that answers the error `number` when it has to sync a folder."""

    def replacement(descriptor: Any) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    return replacement


def main() -> None:
    name, point, at = sys.argv.pop(1).split(":")
    number = getattr(errno, name)
    if point == "fsync-folder":
        os.fsync = without_folder_sync(os.fsync, number)
    else:
        call = POINTS[point]
        setattr(os, call, failing(getattr(os, call), number, int(at)))
    from bulkdl.__main__ import main as bulkdl_main  # noqa: PLC0415 - after the call was replaced

    sys.exit(bulkdl_main())


if __name__ == "__main__":
    main()
