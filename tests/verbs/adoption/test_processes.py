"""Processes answer as threads do; when one of them, or everything, is killed, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bulkdl.model.settings import ValidationLevel
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportJob
from bulkdl.verbs.adoption.batch import Examination, Import, examine
from bulkdl.verbs.adoption.processes import AdoptProcesses
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

FILES = 1_200


def programs() -> list[psutil.Process]:
    """The processes of `adopt` that this process has started, and that run."""
    found = []
    for each in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie is one, too: another process that has just ended
            if "bulkdl.verbs.adoption.batch_main" in each.cmdline():
                found.append(each)
    return found


def test_a_process_answers_as_a_thread_does_and_a_thread_answers_when_it_was_killed(tmp_path: Path) -> None:
    contents = [one.content for one in instances(series=1, per_series=3)]
    (tmp_path / "1").write_bytes(contents[0])
    MirrorFiles(tmp_path / "m").prepare()
    question = Examination((*contents, b"text"), ValidationLevel.STRUCTURE)
    jobs = (ImportJob(str(tmp_path / "1"), "1.part", "C/1.dcm"),)

    async def ask() -> None:
        async with AdoptProcesses(worth_files=0) as processes:
            assert await processes.examine(question) == examine(question)
            (process,) = programs()
            process.send_signal(signal.SIGKILL)
            assert await processes.examine(question) == examine(question)
            assert programs() in ([], [process])
            done = await processes.import_files(Import(tmp_path / "m", is_private=False, jobs=jobs, may_link=True))
            assert done == [(tmp_path / "1").stat().st_mtime_ns]

    asyncio.run(ask())


def test_few_files_start_no_process() -> None:
    async def ask() -> list[psutil.Process]:
        async with AdoptProcesses() as processes:
            await processes.examine(Examination((b"text",), None))
            return programs()

    assert asyncio.run(ask()) == []


PREPARED = """
import asyncio, os, sys
from bulkdl.model.settings import ValidationLevel
from bulkdl.verbs.adoption.batch import Examination, examine
from bulkdl.verbs.adoption.processes import AdoptProcesses, prepared_processes

async def ask(question):
    async with AdoptProcesses() as processes:
        return await asyncio.gather(*(processes.examine(question) for _ in range(8)))

question = Examination(("1.dcm", "2.dcm"), ValidationLevel.STRUCTURE)
os.sched_getaffinity = lambda _: {0, 1}
with prepared_processes():
    folder = os.getcwd()
    os.chdir("/")
    found = asyncio.run(ask(question))
    os.chdir(folder)
    print(found == [examine(question)] * 8, sys.modules["numpy"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_prepared_processes_answer_from_the_first_file_on(tmp_path: Path) -> None:
    """They are in the folder of the files, and the process that asks is not."""
    for number, one in enumerate(instances(series=1, per_series=2), start=1):
        (tmp_path / f"{number}.dcm").write_bytes(one.content)
    done = subprocess.run([sys.executable, "-c", PREPARED], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True None\n", "")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[MadeUp]]:
    folder = tmp_path_factory.mktemp("source")
    return folder, write_folder(folder, instances(series=4, per_series=FILES // 4))


def wait_for_files(mirror: Path, process: subprocess.Popen[bytes], number: int) -> None:
    until = time.monotonic() + 60
    while sum(1 for _ in mirror.glob("MADE-UP/**/*.dcm")) < number:
        assert process.poll() is None
        assert time.monotonic() < until


@pytest.mark.parametrize(("by", "killed_after"), [("copy", 1), ("move", 1_050)])
def test_an_adoption_that_is_killed_goes_on(
    by: str, killed_after: int, source: tuple[Path, list[MadeUp]], tmp_path: Path
) -> None:
    folder, mirror = tmp_path / "source", tmp_path / "m"
    shutil.copytree(source[0], folder, copy_function=os.link)
    expected = checksums_of(source[1])
    command = [sys.executable, "-m", "bulkdl", "adopt", str(folder), "--to", str(mirror), "--by", by]
    command += ["--archive", "http://127.0.0.1:9/nbia-api/services", "--progress", "none"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_files(mirror, process, killed_after)
        process.kill()
    found = checksums_on_disk(mirror)
    assert found.items() <= expected.items()
    assert journalled_checksums(mirror).items() <= found.items()

    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == expected
    assert list((mirror / ".bulkdl" / "partial").iterdir()) == []
    assert len(checksums_on_disk(folder)) == (0 if by == "move" else FILES)
