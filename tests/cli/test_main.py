"""The command as a shell sees it: what it prints where, and its exit codes."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bulkdl import __version__
from bulkdl.cli import main
from bulkdl.store.files import MirrorFiles
from bulkdl.store.mirror_lock import lock_mirror
from tests.support.commands import run
from tests.support.held_mirrors import make_mirror
from tests.support.nowhere import refusing_port

COMMANDS = ("mirror", "resume", "plan", "status", "verify", "query", "serve")
COMMAND = (sys.executable, "-m", "bulkdl")
NOBODY = "http://127.0.0.1:9/nbia-api/services"
HEAVY = ("asyncio", "aiohttp", "pydicom", "numpy", "sqlite3", "tqdm", "ssl", "bulkdl.model.reports")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("BULKDL_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # users have none, and what is buffered fails later
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def bulkdl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


def test_version_is_one_line() -> None:
    ended = bulkdl("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"bulkdl {__version__}\n", "")


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_version_and_help_pay_for_nothing_that_mirroring_needs(words: list[str]) -> None:
    script = (
        "import sys\n"
        "from bulkdl.cli.main import run\n"
        f"run({words})\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.stderr == "[]\n"


@pytest.mark.parametrize("words", [[], ["manifest"]])
def test_a_group_alone_prints_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(words) == 0
    alone = capsys.readouterr()
    assert main.run([*words, "--help"]) == 0
    assert alone == capsys.readouterr()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    ended = bulkdl("completion", shell)
    assert ended.returncode == 0
    assert f"_BULKDL_COMPLETE={shell}_complete" in ended.stdout


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("bulkdl mir", "mirror"),
        ("bulkdl mirror --rate", "--rate-limit"),
        ("bulkdl mirror --transport s", "single"),
        ("bulkdl verify --quic", "--quick"),
        ("bulkdl completion z", "zsh"),
    ],
)
def test_a_shell_gets_completions(typed: str, completed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_BULKDL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    ended = bulkdl()
    assert ended.stdout.split() == [f"plain,{completed}"]


def test_help_names_every_command(tmp_path: Path) -> None:
    """In another process: click keeps the names of the help option from the first context of a command."""
    done = run("-h", cache=tmp_path)
    assert done.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    assert f"Usage: bulkdl {name} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["miror"], "there is no command 'miror'; did you mean mirror?", id="misspelt command"),
        pytest.param(["xyz"], "known: mirror, resume", id="unknown command"),
        pytest.param(["--frobnicate"], "there is no option --frobnicate", id="unknown option"),
        pytest.param(["mirror", "--colection", "x"], "did you mean --collection?", id="misspelt option"),
        pytest.param(
            ["mirror", "--collection", "x"], "missing option --to DIR: the folder of the mirror (see", id="no --to"
        ),
        pytest.param(["merge", "x"], "missing option --to DIR: the mirror to join them in", id="no --to of a merge"),
        pytest.param(["manifest", "convert", "x"], "missing option --format tcia|csv", id="no choice"),
        pytest.param(["mirror", "--to", "m"], "nothing is selected", id="no selection"),
        pytest.param(
            ["plan", "--since", "2024-13-01"], "--since: '2024-13-01' is not a date (YYYY-MM-DD)", id="no date"
        ),
        pytest.param(["plan", "--series", "x"], "--series: 'x' is not a UID", id="no UID"),
        pytest.param(
            ["plan", "--collection", "x", "--transport", "ftp"], "--transport: 'ftp' is not one of", id="choice"
        ),
        pytest.param(["plan", "--collection", "x", "--archive", "tcai"], "did you mean tcia?", id="profile"),
        pytest.param(["plan", "--collection", "x", "--api-key", "s3cret"], "takes no API key", id="key"),
        pytest.param(["status", "nowhere"], "nowhere is not a mirror", id="no mirror"),
        pytest.param(["status"], "missing argument 'DIR'", id="no folder"),
        pytest.param(["mirror", "--everything", "--to", "m"], "add --yes", id="everything, no terminal"),
        pytest.param(["mirror", "--collection", "x", "--to", "m", "--rate-limit", "50"], "50 bytes per", id="rate"),
        pytest.param(["resume", "m", "--rate-limit", "0.9kB/s"], "900 bytes per", id="rate of a resume"),
        pytest.param(["cache"], "there is no command 'cache' (known: mirror", id="like nothing"),
        pytest.param(["version"], "use bulkdl --version", id="habit: version"),
        pytest.param(["download", "x"], "use bulkdl mirror", id="habit: download"),
        pytest.param(["mirror", "--collection", "x", "--dry-run"], "use bulkdl plan", id="habit: --dry-run"),
        pytest.param(["mirror", "--collection", "x", "--dest", "m"], "use --to DIR", id="habit: --dest"),
        pytest.param(["mirror", "--collection", "x", "--output", "m"], "use --to DIR", id="habit: --output"),
        pytest.param(["plan", "--collection", ""], "a collection has a name", id="empty collection"),
        pytest.param(["plan", "--collection", " "], "a collection has a name", id="blank collection"),
        pytest.param(["mirror", "A", "my x"], "use bulkdl mirror A --to 'my x' (see", id="habit: folder last"),
        pytest.param(["manifest", "shwo", "x"], "Did you mean 'show'?", id="misspelt command of a group"),
        pytest.param(["serve"], "nothing to serve", id="serve nothing"),
        pytest.param(["serve", "--demo", "x"], "--demo has its own files", id="serve both"),
        pytest.param(["serve", "--archive", "demo"], "--archive and --cache", id="serve without a cache"),
        pytest.param(["serve", "x", "--cache", "y"], "--archive and --cache", id="serve a cache of nothing"),
        pytest.param(["serve", "x", "--archive", "demo"], "--archive cannot be combined", id="serve three"),
        pytest.param(["serve", "--cache-size", "5 apples"], "is not a size", id="serve a wrong size"),
        pytest.param(["query"], "no endpoint is given", id="query nothing"),
        pytest.param(["query", "getSeries", "x"], "'x' is not of the form KEY=VALUE", id="no pair"),
        pytest.param(
            ["query", "getSeries", "Collection=A", "Collection=B"], "accepts Collection only once", id="pair twice"
        ),
    ],
)
def test_wrong_words_are_answered_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bulkdl: ")
    assert message in err
    assert err.count("\n") == 1
    assert "s3cret" not in err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["status", "nowhere"], "journal-unreadable", id="status"),
        pytest.param(["verify", "nowhere"], "journal-unreadable", id="verify"),
        pytest.param(["resume", "nowhere"], "journal-unreadable", id="resume"),
        pytest.param(["adopt", "nowhere"], "selection", id="adopt"),
        pytest.param(["archives", "--archive", "nope"], "configuration", id="archives"),
        pytest.param(["serve", "nowhere"], "configuration", id="serve"),
        pytest.param(["help", "zzzz"], "usage", id="help"),
        pytest.param(["mirror", "--nope"], "usage", id="unknown option"),
        pytest.param(["mirrr"], "usage", id="unknown command"),
        pytest.param(["status", "--watch", "x"], "usage", id="watch and json"),
    ],
)
def test_with_json_a_failure_is_one_document_as_well(
    words: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["error"] == code
    assert err.startswith(f"bulkdl: {document['message']}")
    assert err.count("\n") == 1


def test_a_bad_value_of_the_environment_names_the_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    assert main.run(["plan", "--collection", "x"]) == 2
    assert "(set in the environment variable SSL_CERT_FILE)" in capsys.readouterr().err


def test_a_mirror_that_somebody_works_on_exits_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    MirrorFiles(tmp_path).prepare()
    with lock_mirror(tmp_path, "mirror"):
        code = main.run(
            ["mirror", "--archive", NOBODY, "--collection", "x", "--to", str(tmp_path), "--progress", "none"]
        )
    assert code == 6
    assert capsys.readouterr().err.count("\n") == 1


def fail_to_connect(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQLite raise an error that bulkdl does not expect of it."""

    def connect(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sqlite3, "connect", connect)


def test_too_many_open_files_exit_5_wherever_the_limit_is_met(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_mirror(tmp_path, series=1, per_series=1)
    fail_to_connect(OSError(errno.EMFILE, os.strerror(errno.EMFILE), "module.py"), monkeypatch)
    assert main.run(["status", str(tmp_path)]) == 5
    assert capsys.readouterr().err.startswith("bulkdl: too many open files;")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), ImportError("_csv.so: failed to map segment from shared object")],
    ids=["an object", "a library"],
)
def test_too_little_memory_exits_5_wherever_it_is_met(
    error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_mirror(tmp_path, series=1, per_series=1)
    fail_to_connect(error, monkeypatch)
    assert main.run(["status", str(tmp_path)]) == 5
    assert capsys.readouterr().err.startswith("bulkdl: not enough memory;")


def test_an_internal_error_is_one_line_and_its_traceback_is_shown_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_mirror(tmp_path, series=1, per_series=1)
    fail_to_connect(ZeroDivisionError("of all\nthings"), monkeypatch)
    assert main.run(["status", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        "bulkdl: internal error: ZeroDivisionError: of all things (set BULKDL_TRACEBACK=1 to see where)\n"
    )
    monkeypatch.setenv("BULKDL_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main.run(["status", str(tmp_path)])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["status"], 2, id="status"),
        pytest.param(["verify"], 2, id="verify"),
        pytest.param(["resume"], 2, id="resume"),
        pytest.param(["sync"], 2, id="sync"),
        pytest.param(["export", "--output", os.devnull], 2, id="export"),
        pytest.param(["relayout", "--layout", "flat"], 2, id="relayout"),
        pytest.param(["merge", "--to", "m"], 2, id="merge"),
        pytest.param(["manifest", "show"], 2, id="manifest show"),
        pytest.param(["manifest", "from-mirror", "--output", os.devnull], 2, id="manifest from-mirror"),
        pytest.param(["mirror", "--archive", NOBODY, "--to", "m", "--manifest"], 2, id="a manifest"),
        pytest.param(["mirror", "--archive", NOBODY, "--collection", "x", "--to"], 5, id="mirror --to"),
        pytest.param(["serve"], 5, id="serve"),
        pytest.param(["adopt"], 5, id="adopt"),
    ],
)
@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG])
def test_a_path_that_the_system_refuses_is_said_in_one_line(
    words: list[str], code: int, number: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does for a name that is too long, and below a folder without access."""
    name, examine = "refused", os.stat

    def refuse(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        if name in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return examine(path, *rest, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert main.run([*words, name]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("bulkdl: ")
    assert "internal error" not in err


@pytest.mark.parametrize(
    "words",
    [["status"], ["status", "--json"], ["verify", "--json"], ["export"], ["manifest", "lock"], ["cite"], ["nonsense"]],
    ids=" ".join,
)
def test_a_result_that_the_disk_has_no_room_for_exits_5(words: list[str], tmp_path: Path) -> None:
    make_mirror(tmp_path, series=1, per_series=1)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("the system has no /dev/full")
    with full.open("wb") as output:
        ended = subprocess.run(
            [*COMMAND, *words, str(tmp_path)], stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )
    said = "cannot write standard output: No space left on device"
    assert (ended.returncode, said in ended.stderr) == ((5, True) if words != ["nonsense"] else (2, False))
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("bulkdl: ")


def test_closed_streams_are_not_a_defect(tmp_path: Path) -> None:
    """As a daemon's are: nothing can be said, and the exit code still tells."""
    ended = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m bulkdl query --list <&- >&- 2>&-', sys.executable], check=False, cwd=tmp_path
    )
    assert ended.returncode == 0


@pytest.mark.parametrize("progress", ["auto", "plain", "none"])
def test_an_archive_that_is_not_there_exits_4(progress: str) -> None:
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}/nbia-api/services"
        ended = bulkdl(
            *("plan", "--archive", url, "--collection", "x", "--give-up-after", "0", "--json"),
            *("--progress", progress),
        )
    assert ended.returncode == 4
    assert json.loads(ended.stdout)["error"] == "unreachable"
    lines = ended.stderr.splitlines()
    assert lines[-1].startswith("bulkdl: the archive could not be reached")
    if progress == "none":
        assert len(lines) == 1


def test_a_mirror_that_cannot_be_written_exits_5(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    ended = bulkdl(
        *("mirror", "--archive", NOBODY, "--collection", "x"),
        *("--to", str(tmp_path / "file" / "m"), "--progress", "none"),
    )
    assert ended.returncode == 5
    assert ended.stderr.count("\n") == 1


class SilentArchive:
    """Takes one connection, reads the request, and never answers."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/nbia-api/services"
        self.asked = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            connection.recv(1000)
            self.asked.set()
            while connection.recv(1000):
                pass

    def close(self) -> None:
        self._listening.close()
        self._thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_signals_end_a_run_at_once_and_say_how_to_resume(number: int, tmp_path: Path) -> None:
    archive = SilentArchive()
    words = [
        "mirror",
        "--archive",
        archive.url,
        "--collection",
        "x",
        "--to",
        str(tmp_path / "m"),
        "--progress",
        "plain",
    ]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert archive.asked.wait(30)
        assert " run 1: from " in process.stderr.readline()
        process.send_signal(number)
        assert " stopping: " in process.stderr.readline()
        process.send_signal(number)
        _, err = process.communicate()
    archive.close()
    assert process.returncode == 130
    assert err == (f"bulkdl: interrupted; what was finished is kept; to continue: bulkdl resume {tmp_path / 'm'}\n")


def test_a_query_ends_with_the_first_signal() -> None:
    archive = SilentArchive()
    words = ["query", "--archive", archive.url, "getCollectionValues"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert archive.asked.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    archive.close()
    assert process.returncode == 130
    assert (out, err) == ("", "bulkdl: interrupted before the archive answered\n")


def test_a_reader_that_goes_away_is_not_an_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        ended = subprocess.run(
            [*COMMAND, "query", "--list"], stdout=closed, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path
        )
    assert (ended.returncode, ended.stderr) == (141, "")
