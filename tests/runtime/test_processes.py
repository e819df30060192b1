from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bulkdl.errors import ConfigurationError, MirrorUnwritable
from bulkdl.runtime.processes import AnsweringProcess, AnsweringProcesses, answer_all, packed, receive, start_process

ANSWERING = "tests.support.answering_process"
TUNE = """
import sys
from bulkdl.runtime.processes import tune_process
tune_process()
print(sys.getswitchinterval())
"""


async def received(content: bytes) -> list[object]:
    """Every message in `content`, up to its end."""
    stream = asyncio.StreamReader()
    stream.feed_data(content)
    stream.feed_eof()
    messages = []
    while (message := await receive(stream)) is not None:
        messages.append(message)
    return messages


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [[], ["a"], [{"a": 1}, (2, b"x" * 100_000), False]], ids=len)
async def test_messages_arrive_as_they_were_sent(messages: list[object]) -> None:
    assert await received(b"".join(map(packed, messages))) == messages


@pytest.mark.parametrize("missing", [1, 3, 6])
async def test_a_message_that_is_cut_is_the_end(missing: int) -> None:
    assert await received((packed("whole") + packed("cut"))[:-missing]) == ["whole"]


async def test_questions_are_answered_in_order_until_the_input_ends() -> None:
    answers = io.BytesIO()
    questions = io.BytesIO(packed(1) + packed(2) + packed(3)[:-1])
    answer_all(lambda number: number * 10, questions, answers)
    assert await received(answers.getvalue()) == ["ready", 10, 20]


# --- processes --------------------------------------------------------------------------------------------------------


async def test_a_process_answers_questions_and_ends_with_its_block() -> None:
    async with AnsweringProcess(ANSWERING) as process:
        assert [await process.ask(number) for number in (1, 2, 3)] == [2, 4, 6]


async def test_a_process_that_dies_answers_none() -> None:
    async with AnsweringProcess(ANSWERING) as process:
        assert await process.ask(0) is None
        assert await process.ask(1) is None


async def test_a_process_that_never_works_says_nothing_about_a_question() -> None:
    async with AnsweringProcess("this") as process:
        with pytest.raises(MirrorUnwritable, match="cannot start"):
            await process.ask(1)


async def test_processes_share_questions_and_one_that_dies_is_replaced() -> None:
    async with AnsweringProcesses(ANSWERING) as processes:
        assert await asyncio.gather(*map(processes.ask, (1, 0, 2))) == [2, None, 4]
        assert [await processes.ask(number) for number in (0, 0, 3)] == [None, None, 6]


async def test_a_process_ends_when_its_input_ends() -> None:
    process = await start_process(ANSWERING)
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has process groups for this, and no such signal")
async def test_a_process_does_not_hear_ctrl_c_from_its_first_moment_on() -> None:
    processes = await asyncio.gather(*(start_process(ANSWERING) for _ in range(3)))
    for process in processes:
        process.send_signal(signal.SIGINT)
    answers = [await process.communicate(packed(1)) for process in processes]
    assert [await received(output) for output, _ in answers] == [["ready", 2]] * 3
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


async def test_a_process_imports_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "pickle", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("import os; os._exit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    async with AnsweringProcess(ANSWERING) as process:
        assert await process.ask(1) == 2


async def test_a_process_imports_from_folders_that_were_added_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "added_by_hand.py").write_text("from tests.support import answering_process; answering_process.main()")
    monkeypatch.syspath_prepend(str(tmp_path))
    async with AnsweringProcess("added_by_hand") as process:
        assert await process.ask(4) == 8


@pytest.mark.parametrize("python", [None, ""])
async def test_a_program_without_a_python_says_so(python: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(ConfigurationError, match="cannot start processes"):
        await start_process(ANSWERING)


def test_a_tuned_process_hands_over_the_interpreter_lock_sooner() -> None:
    done = subprocess.run([sys.executable, "-c", TUNE], check=True, capture_output=True, text=True)
    assert float(done.stdout) == pytest.approx(0.0005)
