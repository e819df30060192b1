"""The DICOMweb archive on Orthanc, a server by others."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.support.dicom_files import instances
from tests.support.orthanc import needs_orthanc, orthanc

pytestmark = needs_orthanc


def test_a_series_is_sent_as_it_was_stored(tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=2))
    with orthanc(tmp_path, login=True) as server:
        server.put(made_up)
        assert server.stored() == {one.sop_uid: hashlib.md5(one.content).hexdigest() for one in made_up}  # noqa: S324
        path = f"dicom-web/studies/{made_up[0].study_uid}/series/{made_up[0].series_uid}"
        body = server.ask("GET", path)
        assert all(one.content in body for one in made_up)
        server.remove(made_up[1].sop_uid)
        assert server.stored().keys() == {made_up[0].sop_uid}
