"""Before and after the event loop, a signal ends the command as an interruption."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_before_the_work_begins_exits_130_in_one_line(name: str) -> None:
    script = (
        "import signal, sys\n"
        f"signal.signal(signal.{name}, signal.SIG_DFL)\n"
        "import bulkdl.__main__ as command\n"
        "class Signalling:\n"
        "    def find_spec(self, module, *rest):\n"
        "        if module == 'bulkdl.cli.main':\n"
        f"            signal.raise_signal(signal.{name})\n"
        "sys.meta_path.insert(0, Signalling())\n"
        "sys.exit(command.main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 130
    assert ended.stderr == "bulkdl: interrupted before anything was done\n"


def test_a_signal_in_a_callback_whose_errors_python_ignores_ends_the_command_all_the_same() -> None:
    script = (
        "import signal, time\n"
        "from bulkdl.cli.signals import raise_on_signals\n"
        "raise_on_signals()\n"
        "class Freed:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "try:\n"
        "    Freed()\n"
        "    time.sleep(30)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("interrupted\n", "")


def test_a_hangup_that_is_ignored_from_the_start_stays_ignored() -> None:
    """`nohup bulkdl …` goes on when the terminal is closed."""
    script = (
        "import signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from bulkdl.cli.signals import SIGNALS, raise_on_signals\n"
        "raise_on_signals()\n"
        "signal.raise_signal(signal.SIGHUP)\n"
        "print(*(number.name for number in SIGNALS))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "SIGINT SIGTERM\n")


def test_a_signal_after_the_end_does_not_change_the_exit_code() -> None:
    script = (
        "import signal, sys\n"
        "from bulkdl.__main__ import main\n"
        "sys.argv = ['bulkdl', 'nonsense']\n"
        "code = main()\n"
        "signal.raise_signal(signal.SIGTERM)\n"
        "sys.exit(code)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 2
