from __future__ import annotations

import asyncio

from bulkdl.runtime.loop_cycle import OnePerLoopCycle


async def test_one_task_passes_in_each_cycle_of_the_loop() -> None:
    loop_cycle, rounds, passed = OnePerLoopCycle(), 0, []

    def count() -> None:
        nonlocal rounds
        rounds += 1
        asyncio.get_running_loop().call_soon(count)

    async def pass_by() -> None:
        await loop_cycle.passed()
        passed.append(rounds)

    asyncio.get_running_loop().call_soon(count)
    await asyncio.gather(*(pass_by() for _ in range(50)))
    assert len(set(passed)) == 50


async def test_a_task_that_is_cancelled_while_waiting_blocks_no_other() -> None:
    loop_cycle = OnePerLoopCycle()
    waiting = [asyncio.ensure_future(loop_cycle.passed()) for _ in range(10)]
    await asyncio.sleep(0)
    for task in waiting[1::2]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await loop_cycle.passed()
    assert [task.cancelled() for task in waiting] == [False, True] * 5
