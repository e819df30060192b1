"""The phantoms of the demonstration: their SEG and RTSTRUCT come with their CT, and the CT with them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bulkdl.runtime.disk import JOURNAL
from tests.support.commands import run

PATIENT = "PHANTOM-001"  # with two Studies, each with a CT, a SEG, a RTSTRUCT, and MRs to which nothing refers


@pytest.mark.parametrize(("archive", "modality"), [("demo", "CT"), ("demo-idc", "SEG")])
def test_what_belongs_together_comes_together(demo_cache: Path, tmp_path: Path, archive: str, modality: str) -> None:
    wanted = ("--archive", archive, "--patient", PATIENT, "--modality", modality, "--with-annotations")
    done = run("mirror", *wanted, "--to", tmp_path / "m", "--json", cache=demo_cache)
    assert (done.code, done.document()["outcome"]) == (0, "complete"), done.out
    with closing(sqlite3.connect(tmp_path / "m" / JOURNAL)) as journal:
        modalities = dict(journal.execute("SELECT modality, count(*) FROM v_series WHERE held > 0 GROUP BY 1"))
    assert modalities == {"CT": 2, "SEG": 2, "RTSTRUCT": 2}
