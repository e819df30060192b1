"""What `adopt` decides on its own: which Collection, what is already there, where it stops and goes on."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bulkdl.errors import ConfigurationError, MirrorLocked, SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.model.events import Adopting, Event
from bulkdl.model.reports.adopt import AdoptReport
from bulkdl.model.reports.base import RunOutcome
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.verbs.adopt import adopt_async
from tests.support.dicom_files import MadeUp, instances, padded
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

NBIA = "http://127.0.0.1:9/nbia-api/services"
WITHOUT_MD5S = "http://127.0.0.1:9/services/v3/TCIA/query"


def take(
    source: Path,
    to: Path,
    *,
    collection: str | None = None,
    stop: asyncio.Event | None = None,
    archive: str | None = NBIA,
) -> tuple[AdoptReport, list[Event]]:
    events: list[Event] = []
    work = adopt_async(source, to=to, collection=collection, archive=archive, sink=events.append, stop=stop)
    return asyncio.run(work), events


def put(folder: Path, made_up: list[MadeUp]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(made_up):
        (folder / f"{number:04}").write_bytes(one.content)  # the name says nothing


@pytest.mark.skipif(sys.platform == "darwin", reason="names are always Unicode there")
def test_a_folder_whose_name_is_not_utf_8_is_adopted(tmp_path: Path) -> None:
    put(tmp_path / "M\udcfcller", list(instances(series=1, per_series=2)))
    report, _ = take(tmp_path / "M\udcfcller", tmp_path / "m")
    assert (report.outcome, report.adopted) == (RunOutcome.COMPLETE, 2)


@pytest.mark.parametrize("inside", ["", "quarantine", "partial"])
def test_the_bookkeeping_of_a_mirror_is_not_adopted(inside: str, tmp_path: Path) -> None:
    put(tmp_path / "other", list(instances(series=1, per_series=1)))
    take(tmp_path / "other", tmp_path / "m", collection="MADE-UP")
    with pytest.raises(SelectionError, match="belongs to the mirror"):
        take(tmp_path / "m" / ".bulkdl" / inside, tmp_path / "else")
    assert not (tmp_path / "else").exists()


@pytest.mark.parametrize("place", ["MADE-UP", "MADE-UP/x/y", ".bulkdl/x"])
def test_no_mirror_is_adopted_inside_a_mirror(place: str, tmp_path: Path) -> None:
    put(tmp_path / "other", list(instances(series=1, per_series=1)))
    take(tmp_path / "other", tmp_path / "m", collection="MADE-UP")
    with pytest.raises(ConfigurationError, match="is inside the mirror"):
        take(tmp_path / "other", tmp_path / "m" / place)


class StopsAfter(asyncio.Event):
    """A stop that is set when it has been read so many times."""

    def __init__(self, questions: int) -> None:
        super().__init__()
        self._left = questions

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def test_an_interrupted_adoption_is_kept_and_goes_on(tmp_path: Path) -> None:
    made_up = list(instances(series=4, per_series=200))
    put(tmp_path / "other", made_up)
    first, _ = take(tmp_path / "other", tmp_path / "m", collection="MADE-UP", stop=StopsAfter(500))
    assert first.outcome is RunOutcome.INTERRUPTED
    assert 0 < first.adopted < len(made_up)
    assert len(journalled_checksums(tmp_path / "m")) == first.adopted
    assert checksums_on_disk(tmp_path / "m") == journalled_checksums(tmp_path / "m")

    second, events = take(tmp_path / "other", tmp_path / "m", collection="MADE-UP")
    assert (second.outcome, second.already, second.adopted) == (
        RunOutcome.COMPLETE,
        first.adopted,
        len(made_up) - first.adopted,
    )
    assert checksums_on_disk(tmp_path / "m") == checksums_of(made_up)
    assert [event for event in events if isinstance(event, Adopting)][-1].found == len(made_up)


@pytest.mark.parametrize(
    ("said", "table", "folder", "expected"),
    [
        ("SAID", "TABLE", "FOLDER", "SAID"),
        (None, "TABLE", "FOLDER", "TABLE"),
        (None, None, "FOLDER", "FOLDER"),
        (None, None, None, ""),
    ],
)
def test_the_collection_comes_from_the_best_source(
    said: str | None, table: str | None, folder: str | None, expected: str, tmp_path: Path
) -> None:
    (one,) = instances(series=1, per_series=1)
    source = tmp_path / "other"
    put(source / folder / one.patient_id / "x" if folder else source, [one])
    if table:
        (source / "metadata.csv").write_text(f"Series UID,Collection,Text\r\n{one.series_uid},{table},a, b, c\r\n")
    take(source, tmp_path / "m", collection=said)
    with Journal.open_readonly(tmp_path / "m" / ".bulkdl" / "journal.sqlite") as journal:
        assert [entry.collection for entry in journal.collections()] == [expected]


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"", b"Series UID\n1.2", b'Series UID,Collection\n"1', b"\0" * 50])
def test_an_invalid_table_is_ignored(content: bytes, tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=2))
    put(tmp_path / "other" / "C" / made_up[0].patient_id, made_up)
    (tmp_path / "other" / "metadata.csv").write_bytes(content)
    report, _ = take(tmp_path / "other", tmp_path / "m")
    assert (report.adopted, report.others) == (2, 1)
    assert checksums_on_disk(tmp_path / "m") == checksums_of([replace(one, collection="C") for one in made_up])


def test_a_mirror_below_the_folder_is_not_adopted_into_itself(tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=3))
    put(tmp_path / "a", made_up)
    for expected in ((3, 0), (0, 3)):
        report, _ = take(tmp_path, tmp_path / "m", collection="MADE-UP")
        assert (report.adopted, report.already) == expected
    assert checksums_on_disk(tmp_path / "m") == checksums_of(made_up)


def test_a_locked_mirror_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SelectionError):
        take(tmp_path / "nowhere", tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with lock_mirror(tmp_path / "m"), pytest.raises(MirrorLocked):
        take(tmp_path, tmp_path / "m")


def test_copies_in_other_batches_are_counted_once(tmp_path: Path) -> None:
    made_up = list(instances(series=2, per_series=200))
    for folder in "abc":
        put(tmp_path / "source" / folder, made_up)
    report, _ = take(tmp_path / "source", tmp_path / "m", collection="MADE-UP")
    assert (report.adopted, report.already, report.refused) == (400, 800, 0)
    assert checksums_on_disk(tmp_path / "m") == journalled_checksums(tmp_path / "m") == checksums_of(made_up)


@pytest.mark.parametrize("between", [0, 450], ids=["in one batch", "in two batches"])
def test_of_two_files_of_an_instance_the_longer_one_is_adopted(between: int, tmp_path: Path) -> None:
    (one,) = instances(series=1, per_series=1)
    others = list(instances(series=1, per_series=between, seed="others")) if between else []
    put(tmp_path / "source", [one, *others, padded(one)])
    report, _ = take(tmp_path / "source", tmp_path / "m", collection="MADE-UP")
    assert (report.adopted, report.refused, report.found) == (between + 1, 1, between + 2)
    assert [problem.error for problem in report.problems] == ["conflict"]
    assert checksums_on_disk(tmp_path / "m") == checksums_of([*others, padded(one)])
    assert journalled_checksums(tmp_path / "m") == checksums_of([*others, padded(one)])


@pytest.mark.parametrize(
    ("archives", "has_md5"),
    [([NBIA], True), ([WITHOUT_MD5S], False), ([WITHOUT_MD5S, None], False), ([NBIA, WITHOUT_MD5S], True)],
    ids=["NBIA", "TCIA v3", "TCIA v3 again", "both"],
)
def test_md5s_are_computed_where_an_archive_of_the_mirror_has_some(
    archives: list[str | None],
    *,
    has_md5: bool,
    tmp_path: Path,
) -> None:
    for number, archive in enumerate(archives):
        put(tmp_path / str(number), list(instances(series=1, per_series=1, seed=str(number))))
        take(tmp_path / str(number), tmp_path / "m", collection="MADE-UP", archive=archive)
    with Journal.open_readonly(tmp_path / "m" / ".bulkdl" / "journal.sqlite") as journal:
        last = journal.held(limit=9)[-1]
    assert last.path.startswith("MADE-UP/")
    assert (last.md5 is not None) == has_md5
    assert last.sha256 is not None
