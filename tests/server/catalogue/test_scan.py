"""Scans: which files are read, and what the report says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulkdl.errors import ConfigurationError
from bulkdl.server.catalogue import Catalogue, Root, Totals
from tests.support.catalogue_files import one, put, scan
from tests.support.dicom_files import instances, write_folder


def test_counts_what_a_folder_holds(served: Path, tmp_path: Path) -> None:
    made = write_folder(served, instances(series=4, per_series=3))
    report = scan(tmp_path / "catalog.sqlite", served)
    size = sum(len(instance.content) for instance in made)
    assert report.totals == Totals(collections=1, patients=2, studies=2, series=4, instances=12, size_bytes=size)
    assert (report.files, report.read, report.unchanged, report.removed) == (12, 12, 0, 0)


def test_a_second_scan_reads_only_what_changed(served: Path, tmp_path: Path) -> None:
    made = write_folder(served, instances(series=2, per_series=3))
    scan(tmp_path / "catalog.sqlite", served)
    (served / made[0].path).unlink()
    os.utime(served / made[1].path, ns=(1, 1))
    put(served, "MADE-UP/new.dcm", one(SOPInstanceUID="1.2.3"))
    report = scan(tmp_path / "catalog.sqlite", served)
    assert (report.read, report.unchanged, report.removed) == (2, 4, 1)
    assert report.totals.instances == 6


def test_an_unchanged_folder_is_not_read_again(served: Path, tmp_path: Path) -> None:
    write_folder(served, instances(series=1, per_series=2))
    put(served, "broken.dcm", one()[:400])
    first = scan(tmp_path / "catalog.sqlite", served)
    again = scan(tmp_path / "catalog.sqlite", served)
    assert (again.read, again.unchanged, again.removed) == (0, 3, 0)
    ((reason, count),) = first.unservable_by_reason.items()
    assert (reason.startswith("not readable: "), count) == (True, 1)
    assert (again.totals, again.unservable) == (first.totals, first.unservable)


def test_removes_what_is_no_longer_served(served: Path, tmp_path: Path) -> None:
    write_folder(served / "a", instances(series=1, per_series=1, seed="a"))
    write_folder(served / "b", instances(series=1, per_series=1, seed="b"))
    scan(tmp_path / "catalog.sqlite", served / "a", served / "b")
    assert scan(tmp_path / "catalog.sqlite", served / "b").totals.instances == 1


def test_a_file_below_two_roots_belongs_to_the_first(served: Path, tmp_path: Path) -> None:
    put(served, "inner/x.dcm", one())
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        report = catalogue.scan([Root(served / "inner", "FIRST"), Root(served, "SECOND")])
        assert (report.files, catalogue.collections()) == (1, ["FIRST"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no DICOM", "no DICOM preamble"),
        (b"", "no DICOM preamble"),
        (one(SOPInstanceUID=None), "no SOP Instance UID"),
        (one(SeriesInstanceUID=None), "no Series Instance UID"),
    ],
    ids=["text", "empty", "no-sop", "no-series"],
)
def test_says_why_a_file_cannot_be_served(served: Path, tmp_path: Path, content: bytes, reason: str) -> None:
    path = put(served, "x.dcm", content)
    report = scan(tmp_path / "catalog.sqlite", served)
    assert [unservable.path for unservable in report.unservable] == [path]
    assert report.unservable[0].reason.startswith(reason)
    assert list(report.unservable_by_reason.values()) == [1]
    assert report.totals.instances == 0


def test_serves_files_whose_names_are_not_text(served: Path, tmp_path: Path) -> None:
    put(served, os.fsdecode(b"f\xff/\xfe.dcm"), one())
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (series,) = catalogue.series()
        (file,) = catalogue.files(series.series_uid)
        assert (series.collection, file.path.read_bytes()) == ("f\ufffd", one())


def test_partial_and_quarantined_files_are_not_served(served: Path, tmp_path: Path) -> None:
    """Quarantined and partial files stay private even if the journal is lost."""
    put(served, ".bulkdl/quarantine/x.dcm", one())
    put(served, "below/.bulkdl/partial/x.dcm", one())
    assert scan(tmp_path / "catalog.sqlite", served).files == 0


def test_a_series_spread_over_folders_is_one(served: Path, tmp_path: Path) -> None:
    for number in range(4):
        put(served, f"{number}/x.dcm", one(SOPInstanceUID=f"1.{number}", SeriesInstanceUID=f"2.{number % 2}"))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        assert catalogue.scan([Root(served)]).totals.series == 2
        assert [series.image_count for series in catalogue.series()] == [2, 2]
        assert [series.collection for series in catalogue.series()] == ["0", "1"]  # of the first file


def test_ignores_a_pipe(served: Path, tmp_path: Path) -> None:
    os.mkfifo(served / "pipe.dcm")
    assert scan(tmp_path / "catalog.sqlite", served).files == 0


def test_rejects_a_root_that_is_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a folder"):
        scan(tmp_path / "catalog.sqlite", tmp_path / "nowhere")


def test_a_failed_scan_changes_nothing(served: Path, tmp_path: Path) -> None:
    write_folder(served, instances(series=1, per_series=2))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        for path in served.rglob("*.dcm"):
            path.unlink()

        def stop(_files: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            catalogue.scan([Root(served)], progress=stop)
        assert catalogue.totals().instances == 2
        assert catalogue.scan([Root(served)]).totals.instances == 0


def test_reasons_that_differ_in_numbers_alone_are_counted_together(served: Path, tmp_path: Path) -> None:
    for end in (400, 410, 420):
        put(served, f"{end}.dcm", one()[:end])
    report = scan(tmp_path / "catalog.sqlite", served)
    assert list(report.unservable_by_reason.values()) == [3]
    assert len({unservable.reason for unservable in report.unservable}) == 3


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"PatientID": "P2", "StudyInstanceUID": "1.2.9"}, "patient_id"),
        ({"PatientID": "P2"}, "patient_id"),
        ({"PatientID": None}, "patient_id"),
        ({"StudyInstanceUID": "1.2.9"}, "study_uid"),
        ({"StudyInstanceUID": None}, "study_uid"),
        ({"PatientName": "Other"}, None),
    ],
    ids=["both", "patient", "no-patient", "study", "no-study", "name-alone"],
)
def test_says_when_files_of_a_series_name_another_patient_or_study(
    served: Path, tmp_path: Path, changed: dict[str, object], field: str | None
) -> None:
    chosen = put(served, "a.dcm", one(SOPInstanceUID="1.1"))
    put(served, "b.dcm", one(SOPInstanceUID="1.2"))
    other = put(served, "c.dcm", one(SOPInstanceUID="1.3", **changed))
    first = scan(tmp_path / "catalog.sqlite", served)
    assert [(one.field, one.chosen, one.other) for one in first.contradictions] == (
        [] if field is None else [(field, chosen, other)]
    )
    assert scan(tmp_path / "catalog.sqlite", served).contradictions == first.contradictions


def test_the_same_bytes_twice_are_one_instance(served: Path, tmp_path: Path) -> None:
    put(served, "a.dcm", one())
    put(served, "b.dcm", one())
    report = scan(tmp_path / "catalog.sqlite", served)
    assert (report.totals.instances, report.duplicates, report.conflicts) == (1, 1, ())


def test_serves_the_first_of_different_files_and_reports_the_others(served: Path, tmp_path: Path) -> None:
    first, second = put(served, "a.dcm", one(PatientSex="M")), put(served, "b.dcm", one(PatientSex="F"))
    report = scan(tmp_path / "catalog.sqlite", served)
    (conflict,) = report.conflicts
    assert (conflict.chosen, conflict.others, conflict.why) == (first, (second,), "first")
    assert report.totals.instances == 1


def test_a_valid_file_takes_precedence_over_a_truncated_one(served: Path, tmp_path: Path) -> None:
    cut, whole = put(served, "a.dcm", one()[:-10]), put(served, "b.dcm", one())
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        for _ in range(2):  # the second time from stored values
            (conflict,) = catalogue.scan([Root(served)]).conflicts
            assert (conflict.chosen, conflict.others, conflict.why) == (whole, (cut,), "valid")
        (series,) = catalogue.series()
        assert [file.path for file in catalogue.files(series.series_uid)] == [whole]


def test_the_other_file_takes_over_when_the_chosen_one_goes(served: Path, tmp_path: Path) -> None:
    first, second = put(served, "a.dcm", one(PatientSex="M")), put(served, "b.dcm", one(PatientSex="F"))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        first.unlink()
        assert catalogue.scan([Root(served)]).conflicts == ()
        (series,) = catalogue.series()
        assert [file.path for file in catalogue.files(series.series_uid)] == [second]


def test_an_instance_in_two_series_is_two_instances(served: Path, tmp_path: Path) -> None:
    put(served, "a.dcm", one(SeriesInstanceUID="1.1"))
    put(served, "b.dcm", one(SeriesInstanceUID="1.2"))
    assert scan(tmp_path / "catalog.sqlite", served).totals.instances == 2
