"""Where adopted instances belong: `tests/endtoend/test_layouts` adopts whole folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.dicom.header import read_header
from bulkdl.fetch.digests import digests_of
from bulkdl.journal.rows import HeldPlace
from bulkdl.model.records import InstanceKey, Series
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import parse_layout
from bulkdl.verbs.adoption.places import SeriesPlaces, choose_places
from bulkdl.verbs.adoption.sources import Candidate, SourceItem
from tests.support.dicom_files import MadeUp, instances

ONE, OTHER, THIRD = instances(series=1, per_series=3)  # all have the same Instance Number
LAYOUT = parse_layout("{series}/{InstanceNumber}.dcm")


@pytest.fixture
def files(tmp_path: Path) -> MirrorFiles:
    files = MirrorFiles(tmp_path)
    files.prepare()
    files.ensure_folder("f")
    return files


def candidate(one: MadeUp) -> Candidate:
    key = InstanceKey(one.series_uid, one.sop_uid)
    return Candidate(
        SourceItem(one.path, one.content, 1), key, digests_of(one.content), "1.2", (), read_header(one.content)
    )


def chosen(files: MirrorFiles, held: dict[str, str], owners: dict[str, str]) -> list[str]:
    candidates = [candidate(one) for one in (ONE, OTHER, ONE)]
    places = {ONE.series_uid: SeriesPlaces(Series(series_uid=ONE.series_uid), "f", owners)}
    in_place = {each.key: HeldPlace(held[each.key.sop_uid], 1, 1) for each in candidates if each.key.sop_uid in held}
    choose_places(candidates, places, in_place, LAYOUT, files)
    return [candidate.place for candidate in candidates]


def test_the_first_has_the_name_and_another_instance_gets_a_hash(files: MirrorFiles) -> None:
    first, second, again = chosen(files, {}, {})
    assert first == again == "f/1.dcm"
    assert second.startswith("f/1~")


def test_an_instance_stays_where_the_mirror_has_it(files: MirrorFiles) -> None:
    assert chosen(files, {ONE.sop_uid: "f/x.dcm"}, {})[::2] == ["f/x.dcm", "f/x.dcm"]


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_name_of_another_instance_is_not_taken(files: MirrorFiles, is_recorded: bool) -> None:  # noqa: FBT001
    if not is_recorded:
        (files.root / "f" / "1.dcm").write_bytes(THIRD.content)
    names = chosen(files, {}, {"1.DCM".casefold(): "1.9"} if is_recorded else {})
    assert all(name.startswith("f/1~") for name in names)
    assert len(set(names)) == 2
