"""What is found out of the files of a batch, and how they are imported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from bulkdl.dicom.header import Header, read_header
from bulkdl.errors import MirrorUnwritable
from bulkdl.fetch.digests import digests_of
from bulkdl.model.settings import ValidationLevel
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportJob
from bulkdl.verbs.adoption.batch import BatchWorker, Examination, Examined, FileKind, Import, Refused, examine
from tests.support.dicom_files import MadeUp, instances
from tests.support.dicom_samples import encoded, image

ONE, TWO, OTHER = [*instances(series=1, per_series=2), *instances(series=1, per_series=1, seed="other")]


def put(folder: Path, *made_up: MadeUp) -> Examination:
    paths = [folder / f"{number}.dcm" for number in range(len(made_up))]
    for path, one in zip(paths, made_up, strict=True):
        path.write_bytes(one.content)
    return Examination(tuple(map(str, paths)), ValidationLevel.STRUCTURE)


def test_a_valid_instance_has_its_identity_and_digests(tmp_path: Path) -> None:
    (found,) = examine(put(tmp_path, ONE))
    assert isinstance(found, Examined)
    assert (found.series_uid, found.sop_uid) == (ONE.series_uid, ONE.sop_uid)
    digests = digests_of(ONE.content)
    assert (found.size_bytes, found.md5, found.sha256) == (digests.size_bytes, digests.md5, digests.sha256)
    (found,) = examine(replace(put(tmp_path, ONE), with_md5=False))
    assert isinstance(found, Examined)
    assert found.md5 is None


@pytest.mark.parametrize("with_headers", [False, True])
def test_the_first_of_each_series_has_its_header(tmp_path: Path, *, with_headers: bool) -> None:
    question = replace(put(tmp_path, ONE, TWO, OTHER, OTHER), with_headers=with_headers)
    headers = [found.header for found in examine(question) if isinstance(found, Examined)]
    assert [header is not None for header in headers] == [True, with_headers, True, with_headers]
    assert headers[0] == read_header(ONE.content)


def test_without_a_level_there_are_only_headers(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(TWO.content[:-7])
    cut = str(tmp_path / "cut")
    assert all(isinstance(found, Header) for found in examine(Examination((cut, ONE.content), None)))
    (found,) = examine(Examination((cut,), ValidationLevel.STRUCTURE))
    assert isinstance(found, Refused)
    assert found.error == "unsound"


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert examine(Examination((str(tmp_path / "x"),), None)) == (Refused("unreadable", "No such file or directory"),)


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"PK\x03\x04 and more", "x", FileKind.ZIP),
        (b"text", "x.dcm", FileKind.OTHER),
        (b"", "x", FileKind.OTHER),
        (ONE.content, "dicomdir", FileKind.OTHER),
    ],
)
def test_other_files_are_recognized_by_their_content(content: bytes, name: str, kind: FileKind, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert examine(Examination((str(tmp_path / name),), ValidationLevel.STRUCTURE)) == (kind,)


def test_a_deflated_instance_is_examined_only_where_it_may_be() -> None:
    content = encoded(image(), DeflatedExplicitVRLittleEndian)
    question = Examination((content,), ValidationLevel.STRUCTURE)
    assert examine(question) == (FileKind.INFLATING,)
    (found,) = examine(replace(question, may_inflate=True))
    assert isinstance(found, Examined)
    assert found.sop_uid == read_header(content).sop_uid


def test_a_worker_imports_files_or_says_why_not(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_bytes(ONE.content)
    MirrorFiles(tmp_path / "m").prepare()
    worker = BatchWorker()
    jobs = (ImportJob(str(tmp_path / "1.dcm"), "1.part", "C/1.dcm"),)
    question = Import(tmp_path / "m", is_private=False, jobs=jobs, may_link=True)
    assert worker.answer(question) == [(tmp_path / "1.dcm").stat().st_mtime_ns]
    (tmp_path / "1.dcm").unlink()
    again = replace(question, jobs=(jobs[0]._replace(place="C/2.dcm"),))
    assert isinstance(worker.answer(again), MirrorUnwritable)
