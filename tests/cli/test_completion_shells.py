"""The scripts of `bulkdl completion` complete in the shells themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from bulkdl.model.data_sets import DataSet
from bulkdl.verbs.data_sets.answers import KeptAnswer, keep_answer

# What a shell does at TAB after the words, without a terminal: its own functions are called, or print what they get.
_AT_TAB: Final = {
    "bash": 'source "$SCRIPT"; COMP_WORDS=(bulkdl $WORDS); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); '
    '_bulkdl_completion bulkdl; printf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": "compdef() { : }; compadd() { print -l -- ${(P)@[-1]} }; "
    "_describe() { print -l -- ${(P)@[-1]} ${(P)@[-2]} }; "
    'source "$SCRIPT"; words=(bulkdl ${=WORDS}); CURRENT=$#words; _bulkdl_completion',
    "fish": 'source "$SCRIPT"; complete -C "bulkdl $WORDS"',
}
_OPTIONS: Final = {"bash": ["--norc", "-c"], "zsh": ["-f", "-c"], "fish": ["--no-config", "-c"]}


@pytest.fixture(params=list(_AT_TAB))
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("mir", "mirror"),
        ("mirror --transport si", "single"),
        ("verify --qui", "--quick"),
        ("mirror --collection LI", "LIDC-IDRI"),  # the last answer of the archive has it
    ],
)
def test_a_shell_completes(shell: str, words: str, completed: str, tmp_path: Path) -> None:
    data_sets = (DataSet(name="LIDC-IDRI", in_archive=True),)
    answer = KeptAnswer(source="tcia", address="x", archive="tcia", time=datetime.now(UTC), data_sets=data_sets)
    keep_answer(tmp_path / "bulkdl", answer)
    script = tmp_path / "completion"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SCRIPT": str(script),
        "WORDS": words,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "BULKDL_ARCHIVE": "tcia",
    }
    printed = subprocess.run(["bulkdl", "completion", shell], env=environment, capture_output=True, check=True)
    script.write_bytes(printed.stdout)
    ended = subprocess.run(
        [shell, *_OPTIONS[shell], _AT_TAB[shell]], env=environment, capture_output=True, text=True, check=False
    )
    assert completed in re.split(r"[\s:]", ended.stdout), ended.stderr
