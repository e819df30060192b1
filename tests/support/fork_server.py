"""A process that has imported what commands import, and forks commands: `python -m tests.support.fork_server FD`.

To start Python and to import bulkdl, aiohttp and pydicom takes a command longer than most of what tests let it do. A
forked command runs a module as `python -m` does, in a separate process and session. What differs: nothing is imported
late, and all commands have the hash seed of this process. `forked` is the other end.

The socket FD brings requests, each with the files 0 to 2 of the command and a pipe that gets its process ID and, once
it has ended, its exit status. The commands are children of this process, which ends with the socket.
"""

from __future__ import annotations

import gc
import io
import json
import os
import pkgutil
import runpy
import selectors
import socket
import struct
import sys
import time
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

import bulkdl
from bulkdl.dicom.validation import load_pydicom
from bulkdl.dicom.without_numpy import disable_numpy

SITE: Final = str(Path(__file__).with_name("site"))  # on PYTHONPATH, it prepares a process
NUMBER: Final = struct.Struct("=i")  # a process ID, then an exit status
REQUEST_BYTES: Final = 1 << 17
_NOT_LOADED: Final = ("bulkdl.__main__", "bulkdl.server.demo")  # the program; what needs numpy


def load() -> None:
    """Import what commands import, without numpy. A command that needs numpy can import it."""
    before = set(sys.modules)
    disable_numpy()
    load_pydicom()
    for found in pkgutil.walk_packages(bulkdl.__path__, "bulkdl."):
        if not found.name.startswith(_NOT_LOADED):
            import_module(found.name)
    for name in sys.modules.keys() - before:
        if sys.modules[name] is None:  # as `disable_numpy` left it
            del sys.modules[name]


def serve(requests: socket.socket) -> None:
    """Fork a command for each request, and report its end."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.data is not None:
                    waiting.unregister(key.fd)
                    _report_end(key.fd, *key.data)
                    continue
                message, files, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 4)
                if not message:
                    return
                pid = os.fork() or _run(json.loads(message), files)
                for file in files[:3]:
                    os.close(file)
                os.write(files[3], NUMBER.pack(pid))
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, files[3]))


def _report_end(watched: int, pid: int, status_pipe: int) -> None:
    _, status = os.waitpid(pid, 0)
    os.close(watched)
    with suppress(BrokenPipeError):
        os.write(status_pipe, NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os.close(status_pipe)


def _run(request: dict[str, Any], files: list[int]) -> NoReturn:
    """Become the command. bulkdl ends the process itself; what follows is for modules that do not."""
    code: Any = 1
    try:
        _become(request, files)
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code
        if isinstance(code, str):
            print(code, file=sys.stderr)  # noqa: T201 - as Python does
            code = 1
    except BaseException:  # noqa: BLE001 - as Python does at the end of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(request: dict[str, Any], files: list[int]) -> None:
    os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # as Python does when it starts
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.path[0] = request["folder"]
    sys.argv[1:] = request["arguments"]
    sys.orig_argv[:] = [sys.executable, "-m", request["module"], *request["arguments"]]
    first, *more = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if first == SITE:
        sys.path[1:1] = [first, *more]
        runpy.run_path(f"{first}/sitecustomize.py")


def main() -> None:
    """Serve until the other end of the socket is closed."""
    load()
    gc.freeze()  # a collection in a command does not touch, and so copy, what is loaded
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        serve(requests)


if __name__ == "__main__":
    main()
