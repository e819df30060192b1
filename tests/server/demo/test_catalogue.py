"""The demonstration archive: samples and phantoms by Collection, valid except where documented."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkdl.dicom.validation import validate
from bulkdl.errors import InvalidInstance
from bulkdl.model.settings import ValidationLevel
from bulkdl.server.catalogue import Catalogue, Root, Totals
from bulkdl.server.demo.catalogue import PHANTOM_COLLECTION, demo_catalogue, demo_roots, samples_of
from tests.support.dicom_files import instances

UNSOUND = "PYDICOM-UNSOUND"


HALF_MADE = "phantoms-incomplete-x"


@pytest.fixture(scope="module")
def folder(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the phantoms of the session, and some that are incomplete."""
    folder = tmp_path_factory.mktemp("demo")
    (made,) = demo_folder.glob("phantoms-????????????????")
    shutil.copytree(made, folder / made.name, copy_function=os.link)
    (folder / HALF_MADE).mkdir()
    (folder / HALF_MADE / "x.dcm").write_bytes(next(instances(series=1, per_series=1, collection=HALF_MADE)).content)
    return folder


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[Catalogue]:
    catalogue, _ = demo_catalogue(folder)
    yield catalogue
    catalogue.close()


def test_every_collection_has_a_licence_and_a_citation(demo: Catalogue) -> None:
    for collection in demo.collections():
        about = demo.about(collection)
        assert all((about.description, about.citation, about.license_name, about.license_uri)), collection
    assert all(series.license_name for series in demo.series())


def test_every_instance_is_valid_except_in_the_collection_of_invalid_ones(demo: Catalogue) -> None:
    invalid = set()
    for series in demo.series():
        for file in demo.files(series.series_uid):
            try:
                validate(file.path, level=ValidationLevel.STRUCTURE)
            except InvalidInstance:
                invalid.add((series.collection, file.sop_uid))
    assert {collection for collection, _ in invalid} == {UNSOUND}
    assert len(invalid) == sum(series.image_count or 0 for series in demo.series(collection=UNSOUND)) == 52


@pytest.mark.usefixtures("demo")
def test_serves_all_files_of_pydicom(folder: Path, tmp_path: Path) -> None:
    roots = [root for root in demo_roots(folder) if root.path == samples_of("pydicom")]
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        report = catalogue.scan(roots)
        everything = catalogue.scan([Root(root.path) for root in roots[:1]])
    assert (report.totals.series, report.totals.instances) == (49, 129)
    assert everything.totals.instances == report.totals.instances


def test_the_phantoms_are_a_separate_collection(demo: Catalogue) -> None:
    series = list(demo.series(collection=PHANTOM_COLLECTION))
    assert sum(one.image_count or 0 for one in series) >= 500
    assert {one.modality for one in series} >= {"CT", "MR", "PT", "RTSTRUCT", "SEG"}


@pytest.mark.usefixtures("demo")
def test_a_second_start_generates_and_reads_nothing(folder: Path) -> None:
    before = sorted(folder.iterdir())
    catalogue, report = demo_catalogue(folder)
    with catalogue:
        assert (report.read, report.removed) == (0, 0)
        assert report.totals != Totals()
    assert sorted(path for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm"))) == [
        path for path in before if not path.name.endswith(("-wal", "-shm"))
    ]


def test_incomplete_phantoms_are_never_served(demo: Catalogue, folder: Path) -> None:
    """A process that is killed while it makes them leaves a folder that is not used."""
    assert (folder / HALF_MADE).exists()
    served = [file.path for series in demo.series() for file in demo.files(series.series_uid)]
    assert not [path for path in served if HALF_MADE in path.parts]


@pytest.mark.usefixtures("demo_folder")
def test_deletes_phantoms_of_an_older_generator(old_phantoms: Path) -> None:
    assert not old_phantoms.exists()


@pytest.mark.usefixtures("demo")
def test_phantoms_of_the_cache_are_served_without_numpy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert PHANTOM_COLLECTION in {root.collection for root in demo_roots(folder)}


def test_phantoms_that_no_cache_holds_are_left_out_without_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert PHANTOM_COLLECTION not in {root.collection for root in demo_roots(tmp_path)}


def test_finds_the_files_of_pydicom() -> None:
    folder = samples_of("pydicom")
    assert folder is not None
    assert (folder / "test_files" / "CT_small.dcm").is_file()


def test_finds_the_files_of_pydicom_data_where_it_is_installed() -> None:
    folder = samples_of("data_store")
    assert folder is None or (folder / "MR2_UNCI.dcm").is_file()


def test_locating_samples_imports_neither_the_packages_nor_numpy() -> None:
    """The server starts in a fraction of a second because of this."""
    script = (
        "import sys; from bulkdl.server.demo.catalogue import *; samples_of('pydicom'); samples_of('data_store'); "
        "sys.exit(any(name in sys.modules for name in ('pydicom', 'data_store', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.usefixtures("demo")
def test_every_collection_has_an_address_and_a_licence(folder: Path) -> None:
    """Reports of tcia_utils fail where the column of addresses is empty for a whole Collection."""
    lacking = [
        root.collection for root in demo_roots(folder) if not (root.about.collection_uri and root.about.license_uri)
    ]
    assert lacking == []
