"""What a manifest names is counted as a `Manifest` has it, in any order of rows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdl.manifest import ManifestReading, ManifestRow, collect
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.tally import ManifestTally
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.selection import folder_of

_SERIES = st.sampled_from([SeriesUid("1.2"), SeriesUid("1.3")])
_SIZES = st.none() | st.integers(1, 3)
ROWS = st.one_of(
    st.builds(ManifestRow, series_uid=_SERIES, image_count=_SIZES, size_bytes=_SIZES),
    st.builds(
        ManifestRow, series_uid=_SERIES, sop_uid=st.sampled_from([SopInstanceUid("1.2.1"), SopInstanceUid("1.2.2")])
    ),
    st.builds(ManifestRow, study_uid=st.sampled_from([StudyUid("1.4"), StudyUid("1.5")])),
    st.builds(ManifestRow, collection=st.sampled_from(["", "A"]), patient_id=st.sampled_from(["", "p"])),
    st.builds(ManifestRow, location=st.sampled_from(["b/f", "b/f/one.dcm", "b/f/two.dcm", "b/g"])),
)


@settings(max_examples=150)
@given(st.lists(ROWS, max_size=12))
def test_counts_what_is_collected(rows: list[ManifestRow]) -> None:
    found, tally = collect(ManifestReading("list", iter(rows), Remarks("-"))), ManifestTally()
    for row in rows:
        tally.add(row)
    assert tally.series_count == len(found.series) + len(set(map(folder_of, found.locations)))
    objects = sum(each.endswith(".dcm") for each in found.locations)
    assert tally.instance_count == sum(len(sops) for _, sops in found.instances) + objects
    assert (len(tally.studies), len(tally.patients)) == (len(found.studies), len(found.patients))
    assert (len(tally.collections), tally.repeated) == (len(found.collections), found.repeated)
    assert tally.stated_bytes == sum(size.size_bytes or 0 for size in found.expected.values())
    assert tally.stated_instances == sum(size.image_count or 0 for size in found.expected.values())
