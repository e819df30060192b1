"""`open` gives a mirror as tables, paths, data sets and volumes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import InvalidVolume, JournalUnreadable, SelectionError
from bulkdl.verbs.open import Mirror


@pytest.fixture(scope="module")
def mirror(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    """One Study of the phantom: six Series, 140 instances."""
    (study,) = demo_cache.glob("bulkdl/phantoms-*/PHANTOM-002/STUDY-1")
    root = tmp_path_factory.mktemp("opened") / "mirror"
    bulkdl.adopt(study, to=root)
    return bulkdl.open(root)


def test_paths_are_those_of_the_criteria(mirror: Mirror) -> None:
    everything = list(mirror.paths())
    assert len(everything) == 140
    assert all(path.is_file() for path in everything)
    mr = list(mirror.paths(modality="MR", patient="PHANTOM-002"))
    assert len(mr) == 38
    assert set(mr) < set(everything)
    assert list(mirror.paths(modality=["SEG", "RTSTRUCT"], collection="ELSEWHERE")) == []


def test_data_sets_are_read_when_it_is_their_turn(mirror: Mirror) -> None:
    data_sets = mirror.datasets(modality="CT")
    first = next(data_sets)
    assert (first.Modality, first.Rows) == ("CT", 256)
    assert str(first.SOPInstanceUID) == next(mirror.paths(modality="CT")).stem


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_tables_are_data_frames_of_an_installed_library(library: str, mirror: Mirror) -> None:
    series, instances = mirror.series(library=library), mirror.instances(library=library, modality="CT")
    assert type(series).__module__.split(".")[0] in {library, "pandas"}
    assert (len(series), len(instances)) == (6, 50)
    assert {"series_uid", "modality", "held_bytes"} < set(
        series.columns if library == "pandas" else series.column_names
    )


_WITHOUT = """
import sys

class NotInstalled:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in sys.argv[2:]:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import bulkdl
try:
    print(type(bulkdl.open(sys.argv[1]).series()).__module__)
except bulkdl.BulkdlError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("missing", "said"),
    [(["pandas", "polars"], "pyarrow"), (["pandas", "polars", "pyarrow"], "pip install 'bulkdl[pandas]'")],
    ids=["pyarrow", "none"],
)
def test_the_first_installed_library_makes_the_frame(mirror: Mirror, missing: list[str], said: str) -> None:
    """In a new process: these libraries remember what they found in this one."""
    command = [sys.executable, "-c", _WITHOUT, str(mirror.path), *missing]
    assert said in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_volumes_are_those_of_the_series_with_images(mirror: Mirror) -> None:
    volumes = list(mirror.volumes(modality=["MR", "RTSTRUCT"]))
    assert [volume.array.shape for volume in volumes] == [(19, 128, 128)] * 2
    assert len({volume.series_uid for volume in volumes}) == 2


def test_a_series_with_a_missing_slice_is_named(demo_cache: Path, tmp_path: Path) -> None:
    (folder,) = demo_cache.glob("bulkdl/phantoms-*/PHANTOM-001/STUDY-1/T1")
    shutil.copytree(folder, tmp_path / "files")
    (tmp_path / "files" / "005.dcm").unlink()
    bulkdl.adopt(tmp_path / "files", to=tmp_path / "mirror")
    opened, told = bulkdl.open(tmp_path / "mirror"), list[InvalidVolume]()
    with pytest.raises(InvalidVolume, match="1 missing"):
        list(opened.volumes())
    assert list(opened.volumes(on_error=told.append)) == []
    assert "10) mm: 1 missing" in str(told[0])


def test_what_a_record_does_not_have_is_refused(mirror: Mirror) -> None:
    with pytest.raises(SelectionError, match=r"shared_list: not known .* modality"):
        list(mirror.paths(shared_list="mine"))


def test_a_folder_without_a_journal_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="is not a mirror"):
        bulkdl.open(tmp_path)
