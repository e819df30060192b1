from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bulkdl.errors import MirrorLocked, MirrorUnwritable
from bulkdl.store.mirror_lock import holder, lock_mirror

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from bulkdl.store.mirror_lock import lock_mirror
with lock_mirror(Path(sys.argv[1]), "bulkdl mirror"):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_rejected_and_learns_who_holds_the_lock(tmp_path: Path) -> None:
    with hold(tmp_path) as other:
        with pytest.raises(MirrorLocked, match=rf"`bulkdl mirror` \(process {other.pid} on .*, since 20") as caught:
            lock_mirror(tmp_path, "bulkdl verify").__enter__()
        assert "\n" not in str(caught.value)
        other.kill()


def test_a_symbolic_link_leads_to_the_same_lock(tmp_path: Path) -> None:
    root, link = tmp_path / "mirror", tmp_path / "link"
    root.mkdir()
    link.symlink_to(root)
    with lock_mirror(root), pytest.raises(MirrorLocked), lock_mirror(link):
        pass


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    with hold(tmp_path) as other:
        other.kill()
        other.wait()
    assert holder(tmp_path) is None
    with lock_mirror(tmp_path):
        pass


def test_a_child_program_does_not_keep_the_lock(tmp_path: Path) -> None:
    with lock_mirror(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        with lock_mirror(tmp_path):
            pass
    finally:
        child.communicate(b"\n")


def test_status_names_the_holder_without_disturbing_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with lock_mirror(tmp_path, "bulkdl sync"):
        found = holder(tmp_path)
        assert found is not None
        assert found.startswith(f"`bulkdl sync` (process {os.getpid()} on ")
        assert holder(tmp_path) == found
    assert holder(tmp_path) is None
    assert (tmp_path / ".bulkdl" / "lock").read_bytes() == b""


def test_a_holder_without_a_note_is_another_process(tmp_path: Path) -> None:
    with lock_mirror(tmp_path):
        (tmp_path / ".bulkdl" / "lock").write_bytes(b'{"pid": 1')
        assert holder(tmp_path) == "another process"


def test_can_be_taken_again_after_its_release(tmp_path: Path) -> None:
    for _ in range(2):
        with lock_mirror(tmp_path):
            pass


def test_is_not_taken_through_a_link_in_its_place(tmp_path: Path) -> None:
    (tmp_path / ".bulkdl").mkdir()
    (tmp_path / ".bulkdl" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MirrorUnwritable):
        lock_mirror(tmp_path).__enter__()
    assert not (tmp_path / "elsewhere").exists()


def test_is_private_in_a_private_mirror(tmp_path: Path) -> None:
    with lock_mirror(tmp_path / "mirror", private=True):
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "mirror" / ".bulkdl").rglob("*")]
        assert modes == [0o600]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_named_with_what_to_do(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(MirrorUnwritable, match=r"this file system has no locks .* mount it with locks"),
        lock_mirror(tmp_path, "bulkdl mirror"),
    ):
        pass
    assert holder(tmp_path) is None
