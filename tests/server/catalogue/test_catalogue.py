"""Folders and mirrors become a catalogue; the catalogue answers as NBIA's database would."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from bulkdl.errors import ConfigurationError, DiskError
from bulkdl.journal.journal import Journal
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.outcomes import InstanceOutcome
from bulkdl.model.records import Entry, Series, SeriesSize
from bulkdl.model.selection import Selection
from bulkdl.model.states import Outcome
from bulkdl.server.catalogue import About, Catalogue, Root, ScanReport, Totals
from tests.support.dicom_files import instances, uid, write_folder


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


def scan(catalogue: Path, *roots: Path | Root, collection: str | None = None) -> ScanReport:
    with Catalogue.open(catalogue) as opened:
        return opened.scan([r if isinstance(r, Root) else Root(r) for r in roots], collection=collection)


def one(**attributes: object) -> bytes:
    """A made-up instance with some attributes of its own; None takes one away."""
    made: Dataset = dcmread(BytesIO(next(instances(series=1, per_series=1)).content))
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- what is found ----------------------------------------------------------------------------------------------------


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
    assert first.unservable_by_reason == {"not readable": 1}
    assert (again.totals, again.unservable) == (first.totals, first.unservable)


def test_what_is_no_longer_served_leaves_the_catalogue(served: Path, tmp_path: Path) -> None:
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
def test_says_why_a_file_is_not_servable(served: Path, tmp_path: Path, content: bytes, reason: str) -> None:
    path = put(served, "x.dcm", content)
    report = scan(tmp_path / "catalog.sqlite", served)
    assert [unservable.path for unservable in report.unservable] == [path]
    assert report.unservable[0].reason.startswith(reason)
    assert list(report.unservable_by_reason.values()) == [1]
    assert report.totals.instances == 0


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


def test_names_that_are_no_text_are_served(served: Path, tmp_path: Path) -> None:
    put(served, os.fsdecode(b"f\xff/\xfe.dcm"), one())
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (series,) = catalogue.series()
        (file,) = catalogue.files(series.series_uid)
        assert (series.collection, file.path.read_bytes()) == ("f\ufffd", one())


def test_what_a_mirror_keeps_aside_is_not_served(served: Path, tmp_path: Path) -> None:
    """Quarantined and partial files stay private even when the journal beside them is lost."""
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


def test_a_pipe_is_left_alone(served: Path, tmp_path: Path) -> None:
    os.mkfifo(served / "pipe.dcm")
    assert scan(tmp_path / "catalog.sqlite", served).files == 0


def test_refuses_a_root_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a folder"):
        scan(tmp_path / "catalog.sqlite", tmp_path / "nowhere")


def test_a_failed_scan_leaves_the_catalogue_as_it_was(served: Path, tmp_path: Path) -> None:
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


# --- Collections ------------------------------------------------------------------------------------------------------


def with_ctp(collection: str) -> bytes:
    made = dcmread(BytesIO(one()))
    made.private_block(0x0013, "CTP", create=True).add_new(0x10, "LO", collection)
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "of_root", "argument", "collection"),
    [
        (with_ctp("OF-CTP"), "TOP/x.dcm", "OF-ROOT", "ARGUMENT", "OF-CTP"),
        (one(), "TOP/x.dcm", "OF-ROOT", "ARGUMENT", "OF-ROOT"),
        (one(), "TOP/BELOW/x.dcm", None, "ARGUMENT", "TOP"),
        (one(), "x.dcm", None, "ARGUMENT", "ARGUMENT"),
        (one(), "x.dcm", None, None, "served"),
    ],
    ids=["ctp", "root", "top-folder", "argument", "name-of-the-folder"],
)
def test_where_the_collection_comes_from(
    served: Path, tmp_path: Path, content: bytes, name: str, of_root: str | None, argument: str | None, collection: str
) -> None:
    put(served, name, content)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served, of_root)], collection=argument)
        assert catalogue.collections() == [collection]


def test_a_root_says_what_files_cannot(served: Path, tmp_path: Path) -> None:
    put(served, "x.dcm", one())
    about = About(
        description="d",
        citation="c",
        license_name="CC BY 4.0",
        license_uri="https://l",
        collection_uri="https://u",
        released=date(2021, 7, 15),
    )
    scan(tmp_path / "catalog.sqlite", served)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served, "C", about)])  # nothing of the files has changed
        (series,) = catalogue.series()
        assert catalogue.about("c") == about
        assert series.collection == "C"
        assert (series.license_name, series.license_uri) == ("CC BY 4.0", "https://l")
        assert (series.collection_uri, series.released) == ("https://u", date(2021, 7, 15))


def test_patterns_choose_files_of_a_root(served: Path, tmp_path: Path) -> None:
    put(served, "a/x.dcm", one(SOPInstanceUID="1.1"))
    put(served, "b/deep/y.dcm", one(SOPInstanceUID="1.2"))
    assert scan(tmp_path / "catalog.sqlite", Root(served, "A", only=("b/*",))).files == 1


# --- one file for each instance ---------------------------------------------------------------------------------------


def test_the_same_bytes_twice_are_one_instance(served: Path, tmp_path: Path) -> None:
    put(served, "a.dcm", one())
    put(served, "b.dcm", one())
    report = scan(tmp_path / "catalog.sqlite", served)
    assert (report.totals.instances, report.duplicates, report.conflicts) == (1, 1, ())


def test_of_files_that_differ_the_first_is_served_and_the_others_told(served: Path, tmp_path: Path) -> None:
    first, second = put(served, "a.dcm", one(PatientSex="M")), put(served, "b.dcm", one(PatientSex="F"))
    report = scan(tmp_path / "catalog.sqlite", served)
    (conflict,) = report.conflicts
    assert (conflict.chosen, conflict.others, conflict.why) == (first, (second,), "first")
    assert report.totals.instances == 1


def test_a_valid_file_takes_precedence_over_a_truncated_one(served: Path, tmp_path: Path) -> None:
    cut, whole = put(served, "a.dcm", one()[:-10]), put(served, "b.dcm", one())
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        for _ in range(2):  # the second time from what is remembered
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


# --- questions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def catalogue(served: Path, tmp_path: Path) -> Catalogue:  # type: ignore[misc]
    write_folder(served, instances(series=4, per_series=3, collection="Lung"))
    write_folder(served, instances(series=2, per_series=1, collection="Straße", seed="x"))
    with Catalogue.open(tmp_path / "catalog.sqlite") as opened:
        opened.scan([Root(served)])
        yield opened


def test_lists_collections_without_regard_to_case(served: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("beta", "Alpha", "GAMMA")):
        put(served, f"{name}/x.dcm", one(SeriesInstanceUID=f"1.{number}"))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        assert catalogue.collections() == ["Alpha", "beta", "GAMMA"]


@pytest.mark.parametrize(
    ("criteria", "count"),
    [
        ({}, 6),
        ({"collection": "lUNG"}, 4),
        ({"collection": "straße"}, 2),
        ({"collection": ""}, 0),
        ({"patient_id": "patient-00000000"}, 4),
        ({"collection": "LUNG", "patient_id": "PATIENT-00000000"}, 2),
        ({"study_uid": uid("", "Lung", "study", 0)}, 2),
        ({"series_uid": uid("", "Lung", "series", 0)}, 1),
        ({"series_uid": uid("", "Lung", "series", 0), "modality": "MR"}, 0),
        ({"modality": "ct"}, 6),
        ({"body_part": "Chest"}, 6),
        ({"manufacturer": "example"}, 6),
        ({"model": "none"}, 0),
    ],
    ids=repr,
)
def test_criteria_narrow_and_names_are_compared_without_case(
    catalogue: Catalogue, criteria: dict[str, str], count: int
) -> None:
    assert len(list(catalogue.series(**criteria))) == count


def test_patients_and_studies_are_told_once(catalogue: Catalogue) -> None:
    assert [p.patient_id for p in catalogue.patients(collection="lung")] == ["PATIENT-00000000", "PATIENT-00000001"]
    (study,) = catalogue.studies(collection="Lung", patient_id="patient-00000001")
    assert (study.study_uid, study.series_count) == (uid("", "Lung", "study", 1), 2)
    assert (study.study_date, study.patient_name) == (date(2020, 1, 2), "PATIENT^00000000")


def test_a_series_is_told_with_counts_and_the_time_of_its_newest_file(served: Path, tmp_path: Path) -> None:
    made = write_folder(served, instances(series=1, per_series=3))
    moment = datetime(2021, 6, 2, 10, 11, 12, tzinfo=UTC)
    for number, instance in enumerate(made):
        os.utime(served / instance.path, (moment.timestamp() - number,) * 2)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (series,) = catalogue.series()
    assert series == Series(
        series_uid=SeriesUid(made[0].series_uid),
        study_uid=StudyUid(made[0].study_uid),
        patient_id="PATIENT-00000000",
        collection="MADE-UP",
        modality="CT",
        image_count=3,
        size_bytes=sum(len(instance.content) for instance in made),
        body_part="CHEST",
        manufacturer="EXAMPLE",
        series_number=1,
        series_date=date(2020, 1, 2),
        annotations=False,
        submitted=moment.replace(tzinfo=None),
        study_date=date(2020, 1, 2),
    )


def test_every_attribute_of_a_file_reaches_its_record(served: Path, tmp_path: Path) -> None:
    content = one(
        PatientBirthDate="19500102",
        PatientSex="F",
        EthnicGroup="e",
        PatientSpeciesDescription="Canis lupus familiaris",
        StudyDescription="s",
        StudyID="2",
        AdmittingDiagnosesDescription="a",
        PatientAge="061Y",
        LongitudinalTemporalOffsetFromEvent=203.5,
        LongitudinalTemporalEventType="DIAGNOSIS",
        ProtocolName="p",
        SeriesDescription="d",
        ManufacturerModelName="m",
        SoftwareVersions=["1", "2"],
    )
    put(served, "x.dcm", content)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (patient,), (study,), (series,) = catalogue.patients(), catalogue.studies(), catalogue.series()
    assert (patient.birth_date, patient.sex, patient.ethnic_group) == (date(1950, 1, 2), "F", "e")
    assert (patient.species_description, patient.species_code) == ("Canis lupus familiaris", None)
    assert (study.description, study.study_id, study.admitting_diagnosis) == ("s", "2", "a")
    assert (study.patient_age, study.patient_birth_date, study.patient_sex) == ("061Y", date(1950, 1, 2), "F")
    assert (study.longitudinal_offset_days, study.longitudinal_event_type) == (203.5, "DIAGNOSIS")
    assert (series.protocol, series.description, series.model) == ("p", "d", "m")
    assert (series.software_versions, series.study_description) == ("1\\2", "s")


def test_lengths_of_a_file_reach_its_detail(served: Path, tmp_path: Path) -> None:
    put(served, "x.dcm", one(SliceThickness="2.5", PixelSpacing=["0.75", "0.5"]))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (detail,) = catalogue.details()
    assert (detail.slice_thickness_mm, detail.pixel_spacing_mm) == (2.5, 0.75)


def test_answers_of_many_pages_are_whole(served: Path, tmp_path: Path) -> None:
    wanted = set()
    for number in range(1203):
        path = put(served, f"{number}.dcm", one_quick(number))
        wanted.add(path.stem)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        found = [series.series_uid for series in catalogue.series(collection="served")]
        assert len(found) == len(set(found)) == 1203
        assert len(list(catalogue.patients())) == 1
        assert len(list(catalogue.studies())) == 1


def one_quick(number: int) -> bytes:
    """An instance in a Series of its own, without a new Patient or Study."""
    series_uid = uid("", "MADE-UP", "series", 0)
    template = next(instances(series=1, per_series=1)).content
    return template.replace(series_uid.encode(), uid(number).encode())


def test_files_come_by_instance_number(served: Path, tmp_path: Path) -> None:
    for name, number in (("a", 10), ("b", 9), ("c", None), ("d", 1)):
        put(served, f"{name}.dcm", one(SOPInstanceUID=f"1.{ord(name)}", InstanceNumber=number))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (series,) = catalogue.series()
        assert [file.path.stem for file in catalogue.files(series.series_uid)] == ["c", "d", "b", "a"]


def test_an_unknown_series_has_no_files_and_no_size(catalogue: Catalogue) -> None:
    assert catalogue.files("1.2.3") == ()
    assert catalogue.series_size("1.2.3") == SeriesSize(None, None)
    assert catalogue.find_instance("1.2.3") is None


def test_the_md5_is_computed_once_and_not_for_other_bytes(served: Path, tmp_path: Path) -> None:
    path = put(served, "x.dcm", one())
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (series,) = catalogue.series()
        (file,) = catalogue.files(series.series_uid)
        assert catalogue.md5(file) == hashlib.md5(one(), usedforsecurity=False).digest()
        (remembered,) = catalogue.files(series.series_uid)
        assert remembered.md5 == catalogue.md5(file)
        path.write_bytes(b"altered")
        assert catalogue.md5(file) == hashlib.md5(b"altered", usedforsecurity=False).digest()


def test_many_threads_may_ask_at_once(catalogue: Catalogue) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: len(list(catalogue.series())), range(40)))
    assert answers == [6] * 40


@pytest.mark.usefixtures("catalogue")
def test_no_question_about_a_name_looks_at_every_series(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "catalog.sqlite") as database:
        for condition in ("collection_key = ?", "patient_key = ?", "study_uid = ?", "series_uid = ?"):
            question = f"SELECT series_uid FROM series WHERE {condition} AND (series_uid) > (?) ORDER BY series_uid"  # noqa: S608 - fixed words
            plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {question}", ("x", "y")))
            assert "SCAN" not in plan
            assert "TEMP B-TREE" not in plan
    database.close()


# --- mirrors ----------------------------------------------------------------------------------------------------------


def mirror_of(folder: Path, content: bytes) -> Series:
    """A mirror with one held and one failed instance; the file is no DICOM, which nobody is to notice."""
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


# --- the file itself --------------------------------------------------------------------------------------------------


def test_a_damaged_catalogue_is_made_anew(served: Path, tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    write_folder(served, instances(series=1, per_series=2))
    scan(path, served)
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    assert scan(path, served).totals.instances == 2


def test_a_catalogue_of_another_version_is_made_anew(served: Path, tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    scan(path, served)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 77")
        database.execute("DROP TABLE meta")
    database.close()
    write_folder(served, instances(series=1, per_series=2))
    assert scan(path, served).totals.instances == 2


def test_another_kind_of_file_is_left_alone(tmp_path: Path) -> None:
    path = put(tmp_path, "thesis.txt", b"the only copy")
    with pytest.raises(DiskError, match="not changed"):
        Catalogue.open(path)
    assert path.read_bytes() == b"the only copy"


def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE precious (x)")
    database.close()
    content = path.read_bytes()
    with pytest.raises(DiskError, match="not changed"):
        Catalogue.open(path)
    assert path.read_bytes() == content
