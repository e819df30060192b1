"""What is chosen, as files that our own readers read."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from itertools import count

import pytest
from multidict import MultiDict

from bulkdl.manifest import collect, open_manifest
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.locked import read_lock
from bulkdl.model.ids import SeriesUid, stable_uuid
from bulkdl.model.records import Patient, Series
from bulkdl.server.access import Viewer
from bulkdl.server.catalogue import CatalogueView, SeriesDetail
from bulkdl.server.portal.downloads import manifest_chunks
from bulkdl.server.portal.pages import PageRequest
from tests.server.portal.conftest import SECRET
from tests.support.served import Served


async def get(portal: Served, form: str, **choice: str) -> bytes:
    answer = await portal.ask("/download", params={"format": form, **choice})
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    return answer.body


async def test_manifests_name_the_series_of_a_search_that_the_viewer_may_see(portal: Served) -> None:
    expected = sorted(portal.catalogue.series_uids(collection="OPEN"))
    everything = sorted(uid for name in ("OPEN", "MIXED") for uid in portal.catalogue.series_uids(collection=name))
    tcia = await get(portal, "tcia", of="search", collection="OPEN")
    assert f"{portal.origin}/nbia-download/servlet/DownloadServlet".encode() in tcia
    assert sorted(collect(open_manifest(tcia, source="m.tcia")).series) == expected
    rows = csv.DictReader(io.StringIO((await get(portal, "csv", of="search")).decode()))
    assert sorted(row["SeriesInstanceUID"] for row in rows) == everything
    s5cmd = (await get(portal, "s5cmd", of="search", collection="OPEN")).decode()
    assert all(f'cp "s3://bulkdl/{stable_uuid(uid)}/*" .\n' in s5cmd for uid in expected)
    assert f"--endpoint-url {portal.origin}" in s5cmd


async def test_a_patient_is_downloaded_with_what_its_page_offers(portal: Served) -> None:
    patient = next(portal.catalogue.patients(collection="OPEN"))
    page = await portal.ask("/patient", params={"collection": "OPEN", "id": patient.patient_id})
    offered = [html.unescape(link) for link in re.findall(r'href="(/download[^"]*format=tcia)"', page.body.decode())]
    (link,) = offered
    found = collect(open_manifest((await portal.ask(link)).body, source="m.tcia")).series
    assert sorted(found) == sorted(portal.catalogue.series_uids(collection="OPEN", patient_id=patient.patient_id))
    assert f"--patient {patient.patient_id}" in page.body.decode()
    assert (await portal.ask("/download?of=patient&collection=OPEN&format=tcia")).status == 404


async def test_a_zip_and_a_lock_have_every_file(portal: Served) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    files = {file.sop_uid: file for file in portal.catalogue.files(uid)}
    with zipfile.ZipFile(io.BytesIO(await get(portal, "zip", series=uid))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"{uid}/{sop}.dcm": file.path.read_bytes() for sop, file in files.items()
        }
    lines = (await get(portal, "lock", series=uid)).decode().splitlines(keepends=True)
    head, groups = read_lock(lines, Remarks("lock"))
    ((series, instances),) = groups
    assert (series.series_uid, head.instances) == (uid, len(files))
    for one in instances:
        assert one.md5 == hashlib.md5(files[str(one.sop_uid)].path.read_bytes(), usedforsecurity=False).digest()


@pytest.mark.parametrize("form", ["tcia", "csv", "zip", "lock", "s5cmd"])
async def test_a_hidden_series_cannot_be_downloaded(portal: Served, form: str) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection=SECRET)
    answer = await portal.ask("/download", params={"format": form, "series": uid})
    assert uid.encode() not in answer.body


async def test_a_zip_of_a_file_that_changed_breaks_off(portal: Served) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    portal.catalogue.files(uid)[1].path.write_bytes(b"shorter")
    answer = await portal.ask("/download", params={"format": "zip", "series": uid})
    assert answer.status == 404


class EverySeries(CatalogueView):
    """Knows a Series for every UID. Reads all UIDs that it is asked for, as the catalogue does, to name each once."""

    def details_of(self, series_uids: Iterable[str]) -> Iterator[SeriesDetail]:
        for uid in dict.fromkeys(series_uids):
            series = Series(series_uid=SeriesUid(uid), collection="X")
            yield SeriesDetail(series, Patient(patient_id="P"), None)


@pytest.mark.parametrize("form", ["tcia", "csv", "s5cmd"])
def test_the_first_lines_of_a_manifest_do_not_wait_for_the_last_series(form: str) -> None:
    view = EverySeries(lambda *_: [], lambda _: b"")
    request = PageRequest(
        view=view, viewer=Viewer("x"), path="/", query=MultiDict(), origin="http://127.0.0.1", match={}
    )
    read = count()
    chunks = manifest_chunks(request, (f"1.2.{next(read)}" for _ in range(5_000)), form)
    assert next(chunks).count(b"\n") == 500
    assert next(read) <= 1_000
