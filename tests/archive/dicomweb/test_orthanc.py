"""The DICOMweb archive on Orthanc, a server by others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydicom.data import get_testdata_file

from bulkdl.model.access import Access, ArchiveChoice, Credentials
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings, Transport
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.sync import sync_async
from tests.support.dicom_files import instances
from tests.support.orthanc import PASSWORD, USER, needs_orthanc, orthanc

pytestmark = needs_orthanc

SETTINGS = FetchSettings(max_attempts=2, give_up_after_seconds=30)
COMPRESSED = Path(str(get_testdata_file("JPEG2000.dcm"))).read_bytes()  # which this Orthanc cannot decompress


async def test_a_mirror_has_the_stored_bytes_though_lists_are_cut(tmp_path: Path) -> None:
    made_up = list(instances(series=2, per_series=5))
    folder = tmp_path / "orthanc"
    folder.mkdir()
    with orthanc(folder, login=True, LimitFindInstances=2) as server:
        server.put([*made_up[:-1], COMPRESSED])
        archive = ArchiveChoice(
            name=f"dicomweb+{server.dicomweb}",
            cache=tmp_path / "cache",
            access=Access(credentials=Credentials(username=USER, password=PASSWORD)),
        )
        for transport in (Transport.ZIP, Transport.SINGLE):
            to, settings = tmp_path / transport.value, replace(SETTINGS, transport=transport)
            report = await mirror_async(Selection(everything=True), to=to, archive=archive, settings=settings)
            assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, len(made_up))
            files = {path.read_bytes() for path in to.rglob("*.dcm")}
            assert files == {COMPRESSED, *(one.content for one in made_up[:-1])}

        server.put(made_up[-1:])
        server.remove(made_up[0].sop_uid)
        report = await sync_async(tmp_path / Transport.SINGLE.value, archive=archive, settings=SETTINGS)
        assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 1)
        assert report.changes is not None
        assert report.changes.withdrawn_instances == 1
