"""Blocking calls run in other threads."""

from __future__ import annotations

import threading

import pytest

from bulkdl.fetch.threads import Threads


async def test_a_call_runs_in_another_thread_and_returns_its_result() -> None:
    with Threads() as threads:
        assert await threads(threading.get_ident) != threading.get_ident()
        assert await threads(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await threads(divmod, 7, 0)
