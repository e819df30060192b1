"""A process that is forked early answers, ends with its block and with its parent, and is not forked beside threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")

BEGIN = """
import asyncio, os, signal, sys, threading
from bulkdl.runtime.forked_process import forked, take_forked
from bulkdl.runtime.processes import packed, receive

def main():
    from tests.support.answering_process import main
    main()

def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

async def ask(process, number):
    process.stdin.write(packed(number))
    return await receive(process.stdout)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + program], capture_output=True, text=True, timeout=60, check=False
    )


def test_it_answers_once_and_ends_with_its_block() -> None:
    done = run("""
async def use():
    process = await take_forked()
    assert await take_forked() is None
    print(await receive(process.stdout), await ask(process, 4), is_there(process.pid), flush=True)
    return process

with forked(main):
    process = asyncio.run(use())
print(is_there(process.pid), process.returncode)
""")
    assert (done.stdout.splitlines(), done.stderr) == (["ready 8 True", f"False {-signal.SIGKILL}"], "")


def test_of_several_each_answers_and_ends_by_itself() -> None:
    done = run("""
async def use():
    one, other = await take_forked(), await take_forked()
    assert await take_forked() is None
    for process in (one, other):
        print(await receive(process.stdout), await ask(process, 4))
    for process in (other, one):
        process.stdin.close()
        print(await process.wait())

with forked(main, 2):
    asyncio.run(use())
""")
    assert (done.stdout.splitlines(), done.stderr) == (["ready 8", "ready 8", "0", "0"], "")


@pytest.mark.parametrize(
    ("number", "status"), [("0", 3), ("None", 1), ("...", 0)], ids=["dies", "raises", "its input ends"]
)
def test_it_ends_with_the_status_of_a_process(number: str, status: int) -> None:
    done = run(f"""
async def use():
    process = await take_forked()
    await receive(process.stdout)
    if {number} is ...:
        process.stdin.close()
    else:
        assert await ask(process, {number}) is None
    print(await process.wait(), await process.wait())
    try:
        process.kill()
    except ProcessLookupError:
        print("it has ended")

with forked(main):
    asyncio.run(use())
""")
    assert done.stdout.splitlines() == [f"{status} {status}", "it has ended"]
    assert ("TypeError" in done.stderr) == (status == 1)


def test_an_unused_one_ends_with_its_block() -> None:
    done = run("""
with forked(main):
    (child,) = map(int, open("/proc/self/task/%d/children" % os.getpid()).read().split())
    print(is_there(child))
print(is_there(child))
""")
    assert (done.stdout.split(), done.stderr) == (["True", "False"], "")


def test_it_is_not_forked_beside_threads_or_with_other_streams() -> None:
    done = run("""
async def is_forked():
    return await take_forked() is not None

print(asyncio.run(is_forked()))
stream, sys.stdout = sys.stdout, open(os.devnull, "w")
with forked(main):
    stream.write(f"{asyncio.run(is_forked())}\\n")
sys.stdout = stream
ended = threading.Event()
threading.Thread(target=ended.wait).start()
with forked(main):
    print(asyncio.run(is_forked()))
ended.set()
""")
    assert (done.stdout.split(), done.stderr) == (["False"] * 3, "")


def test_it_leaves_ctrl_c_to_its_parent() -> None:
    done = run("""
async def use():
    process = await take_forked()
    await receive(process.stdout)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.pid, number)
        if number == signal.SIGINT:
            print(await ask(process, 4))
    print(await process.wait())

signal.signal(signal.SIGTERM, lambda *_: None)
with forked(main):
    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    asyncio.run(use())
""")
    assert (done.stdout.split(), done.stderr) == (["False", "8", str(-signal.SIGTERM)], "")


def test_it_ends_when_its_parent_is_killed() -> None:
    done = run("""
async def use():
    process = await take_forked()
    await receive(process.stdout)
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

with forked(main):
    asyncio.run(use())
""")
    assert done.returncode == -signal.SIGKILL

    def has_ended() -> bool:
        with suppress(ProcessLookupError):
            os.kill(int(done.stdout), 0)
            return False
        return True

    wait_until(has_ended)
