from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from bulkdl.store.quarantine import Quarantine


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    (tmp_path / "quarantine").mkdir()
    return Quarantine(tmp_path / "quarantine")


def test_invalid_bytes_are_kept_with_their_details(quarantine: Quarantine, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"bad")
    moved = quarantine.keep(tmp_path / "x.part", sop_uid="1.2.3", details={"asked": "1.2.3", "näme": 1})
    written = quarantine.keep(b"worse", sop_uid="1.2.3", details={"path": Path("p")})
    assert (moved.read_bytes(), written.read_bytes()) == (b"bad", b"worse")
    assert json.loads(moved.with_suffix(".json").read_text(encoding="utf-8")) == {"asked": "1.2.3", "näme": 1}
    assert json.loads(written.with_suffix(".json").read_text(encoding="utf-8")) == {"path": "p"}
    assert not (tmp_path / "x.part").exists()


def test_only_the_last_few_of_one_instance_are_kept(quarantine: Quarantine) -> None:
    for n in range(5):
        path = quarantine.keep(b"%d" % n, sop_uid="1.2", details={"n": n})
        os.utime(path, ns=(n, n))  # clocks of file systems may be too coarse to tell them apart
    quarantine.keep(b"other", sop_uid="1.2.3", details={})
    kept = sorted(path.read_bytes() for path in quarantine.folder.glob("1.2.?.dcm"))
    assert kept == [b"2", b"3", b"4"]
    assert len(list(quarantine.folder.iterdir())) == 2 * (3 + 1)


@pytest.mark.parametrize(
    ("sop_uid", "name"),
    [
        pytest.param("..", "__.1.dcm", id="dots"),
        pytest.param("../../x", r"entry-[0-9a-f]{16}\.1\.dcm", id="path"),
        pytest.param("", r"entry-[0-9a-f]{16}\.1\.dcm", id="empty"),
        pytest.param(None, "unknown.1.dcm", id="unknown"),
    ],
)
def test_a_hostile_uid_stays_in_the_quarantine(quarantine: Quarantine, sop_uid: str | None, name: str) -> None:
    path = quarantine.keep(b"bad", sop_uid=sop_uid, details={})
    assert path.parent == quarantine.folder
    assert re.fullmatch(name, path.name)


def test_the_last_file_of_an_instance_is_found_with_its_details(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    assert quarantine.latest("1.2.3") is None
    kept = [quarantine.keep(b"%d" % number, sop_uid="1.2.3", details={"number": number}) for number in range(5)]
    path = kept[-1]
    os.utime(path, ns=(1 << 62, 1 << 62))
    assert quarantine.latest("1.2.3") == (path, {"number": 4})
    quarantine.renew(path, {"number": 5})
    assert quarantine.latest("1.2.3") == (path, {"number": 5})
    path.with_suffix(".json").write_text("not JSON")
    assert quarantine.latest("1.2.3") is None
