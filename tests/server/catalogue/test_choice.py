"""One file for each instance."""

from __future__ import annotations

from pathlib import Path

from bulkdl.server.catalogue import Catalogue, Root
from tests.support.catalogue_files import one, put, scan


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
