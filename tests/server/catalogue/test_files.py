"""The files of a root: links, and mirrors by their journal."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from bulkdl.dicom.header import Header, read_header
from bulkdl.journal.journal import Journal
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import Entry, Series
from bulkdl.model.selection import Selection
from bulkdl.server.catalogue import Catalogue, Root, ServedFile, Totals, open_served, read_served
from tests.support.catalogue_files import one, put, scan


def test_a_link_that_leads_out_of_the_folder_is_not_followed(served: Path, tmp_path: Path) -> None:
    put(tmp_path, "secret.dcm", one())
    (served / "link.dcm").symlink_to(tmp_path / "secret.dcm")
    (served / "folder").symlink_to(tmp_path)
    report = scan(tmp_path / "catalog.sqlite", served)
    assert report.totals.instances == 0
    assert report.unservable_by_reason == {"a link that leads out of the folder": 2}


def test_a_link_within_the_folder_is_served(served: Path, tmp_path: Path) -> None:
    put(served, "objects/x.dcm", one())
    (served / "a.dcm").symlink_to(served / "objects" / "x.dcm")
    assert scan(tmp_path / "catalog.sqlite", served).duplicates == 1


def one_header() -> Header:
    return read_header(one())


def mirror_of(folder: Path, content: bytes) -> Series:
    """A mirror with one held and one failed instance; the file is not DICOM, which is not checked."""
    series = Series(
        series_uid=SeriesUid("1.2.3"),
        study_uid=StudyUid("1.2"),
        patient_id="P1",
        collection="REMOTE",
        modality="MR",
        image_count=2,
        size_bytes=99,
        submitted=datetime(2020, 1, 1, 5, 6, 7),  # noqa: DTZ001 - archives tell no zone
        released=date(2020, 2, 2),
        license_name="CC BY 3.0",
        study_date=date(2019, 1, 1),
        study_description="brain",
        third_party=True,
    )
    path = put(folder, "REMOTE/P1/1.2/1.2.3/1.2.3.1.dcm", content)
    put(folder, ".bulkdl/quarantine/bad.dcm", one())
    now = datetime.now(UTC)
    with Journal.create_or_open(folder / ".bulkdl" / "journal.sqlite") as journal:
        run = journal.begin_run(
            verb="mirror",
            archive_name="x",
            archive_url="http://x",
            selection=Selection(everything=True),
            settings={},
            now=now,
        )
        journal.record_series(run, [(series, "REMOTE/P1/1.2/1.2.3")], now=now)
        sop_uids = [SopInstanceUid("1.2.3.1"), SopInstanceUid("1.2.3.2")]
        journal.record_instances(run, series.series_uid, [Entry(uid, uid) for uid in sop_uids], [None, None])
        held = InstanceOutcome(
            series_uid=series.series_uid,
            key=sop_uids[0],
            sop_uid=sop_uids[0],
            outcome=Outcome.FETCHED,
            size_bytes=len(content),
            md5=hashlib.md5(content, usedforsecurity=False).digest(),
            sha256=hashlib.sha256(content).digest(),
            mtime_ns=path.stat().st_mtime_ns,
        )
        lost = InstanceOutcome(
            series_uid=series.series_uid,
            key=sop_uids[1],
            sop_uid=sop_uids[1],
            outcome=Outcome.FAILED,
            error="timed-out",
            message="late",
        )
        journal.record_outcomes(run, [held, lost])
    return series


def test_a_mirror_is_served_from_its_journal(served: Path, tmp_path: Path) -> None:
    said = mirror_of(served, b"not looked at")
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        report = catalogue.scan([Root(served)])
        (series,) = catalogue.series()
        (file,) = catalogue.files("1.2.3")
        (study,) = catalogue.studies()
        assert report.totals == Totals(collections=1, patients=1, studies=1, series=1, instances=1, size_bytes=13)
        assert (series.image_count, series.size_bytes) == (1, 13)
        assert (series.submitted, series.released, series.license_name) == (
            said.submitted,
            said.released,
            said.license_name,
        )
        assert (series.third_party, series.collection, series.patient_id) == (True, "REMOTE", "P1")
        assert (study.study_date, study.description, study.series_count) == (date(2019, 1, 1), "brain", 1)
        assert file.path.read_bytes() == b"not looked at"
        assert file.md5 == hashlib.md5(b"not looked at", usedforsecurity=False).digest()
        assert catalogue.scan([Root(served)]).unchanged == 1


def test_patients_and_studies_of_a_mirror_are_those_of_its_files(served: Path, tmp_path: Path) -> None:
    """The journal keeps Series alone. What it tells takes precedence, and one header of each Series has the rest."""
    content = one(
        SeriesInstanceUID="1.2.3",
        PatientName="Doe^Jane",
        PatientSex="F",
        PatientAge="061Y",
        StudyID="S7",
        Modality="CT",
    )
    mirror_of(served, content)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        for _ in range(2):  # the second scan takes the header from the first
            catalogue.scan([Root(served)])
            (detail,) = catalogue.details()
            assert (detail.patient.patient_id, detail.patient.name, detail.patient.sex) == ("P1", "Doe^Jane", "F")
            assert detail.study is not None
            assert (detail.study.study_uid, detail.study.study_id, detail.study.description) == ("1.2", "S7", "brain")
            assert (detail.study.patient_name, detail.study.patient_age) == ("Doe^Jane", "061Y")
            assert (detail.series.modality, detail.series.series_number) == ("MR", one_header().series_number)


def test_the_number_of_a_file_of_a_mirror_is_read_when_it_is_needed(served: Path, tmp_path: Path) -> None:
    mirror_of(served, one(SeriesInstanceUID="1.2.3", InstanceNumber="7"))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        assert [file.instance_number for file in catalogue.files("1.2.3")] == [None]
        catalogue.number_files("1.2.3")
        catalogue.scan([Root(served)])
        assert [file.instance_number for file in catalogue.files("1.2.3")] == [7]


def test_what_is_gone_or_cut_in_a_mirror_is_reported(served: Path, tmp_path: Path) -> None:
    mirror_of(served, b"not looked at")
    path = served / "REMOTE/P1/1.2/1.2.3/1.2.3.1.dcm"
    path.write_bytes(b"cut")
    report = scan(tmp_path / "catalog.sqlite", served)
    assert [(one.path, one.reason) for one in report.unservable] == [(path, "3 bytes, and the journal has 13")]
    path.unlink()
    report = scan(tmp_path / "catalog.sqlite", served)
    assert report.unservable_by_reason == {"not readable: No such file or directory": 1}
    assert report.totals == Totals()


SHORTER_THAN_IT_SAYS = Path("/sys/kernel/mm/transparent_hugepage/enabled")  # as are most files of Linux's sysfs


def served(path: Path, content: bytes = b"") -> ServedFile:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    status = path.stat()
    return ServedFile(1, path, None, "1.2", "1.2.3", status.st_size, status.st_mtime_ns, None, None, None)


def test_opens_only_a_regular_file_of_the_scanned_size_and_time(tmp_path: Path) -> None:
    file = served(tmp_path / "x", b"content")
    with open_served(file) as source:
        assert source.read() == read_served(file) == b"content"
    for changed in (replace(file, size_bytes=9), replace(file, mtime_ns=file.mtime_ns - 1)):
        for use in (open_served, read_served):
            with pytest.raises(OSError, match="has changed since the scan"):
                use(changed)


@pytest.mark.skipif(not SHORTER_THAN_IT_SAYS.is_file(), reason="needs a file that has fewer bytes than it says")
def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error() -> None:
    status = SHORTER_THAN_IT_SAYS.stat()
    file = ServedFile(
        1, SHORTER_THAN_IT_SAYS, None, "1.2", "1.2.3", status.st_size, status.st_mtime_ns, None, None, None
    )
    with pytest.raises(OSError, match="truncated while it was read"):
        read_served(file)


def test_opens_the_target_of_a_link_and_not_the_link(tmp_path: Path) -> None:
    file = served(tmp_path / "x", b"content")
    link = tmp_path / "link"
    link.symlink_to(file.path)
    with open_served(replace(file, path=link, target=file.path)) as source:
        assert source.read() == b"content"
    with pytest.raises(OSError, match="link"):
        open_served(replace(file, path=link))


def test_opens_nothing_behind_a_folder_that_is_now_a_link(tmp_path: Path) -> None:
    file = served(tmp_path / "folder" / "x", b"content")
    (tmp_path / "folder").rename(tmp_path / "elsewhere")
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="a link leads to it"):
        open_served(file)


def test_rejects_a_pipe_without_blocking(tmp_path: Path) -> None:
    file = served(tmp_path / "x")
    file.path.unlink()
    os.mkfifo(file.path)
    with pytest.raises(OSError, match="not a regular file"):
        open_served(file)
