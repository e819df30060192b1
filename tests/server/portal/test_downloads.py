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
from pathlib import Path

import pytest
from aiohttp import ClientError
from multidict import MultiDict

from bulkdl.manifest import collect, open_manifest
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.locked import read_lock
from bulkdl.model.ids import SeriesUid, stable_uuid
from bulkdl.model.records import Patient, Series
from bulkdl.server.access import Viewer
from bulkdl.server.catalogue import CatalogueView, Root, SeriesDetail
from bulkdl.server.portal.downloads import bounded, manifest_chunks, offers
from bulkdl.server.portal.pages import PageMissing, PageRequest
from tests.server.portal.conftest import SECRET
from tests.support.dicom_files import instances, write_folder
from tests.support.served import Served, served


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
    answer = await portal.ask("/download", params={"format": "zip", "series": uid})
    assert answer.headers["Content-Disposition"] == 'attachment; filename="images.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
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


async def test_a_zip_whose_first_file_changed_is_an_error_without_its_path(portal: Served, tmp_path: Path) -> None:
    (uid, *_) = portal.catalogue.series_uids(collection="OPEN")
    portal.catalogue.files(uid)[0].path.write_bytes(b"shorter")
    answer = await portal.ask("/download", params={"format": "zip", "series": uid})
    assert (answer.status, answer.kind) == (500, "text/html; charset=utf-8")
    assert str(tmp_path).encode() not in answer.body
    assert "has changed since the scan" in (portal.log[-1].note or "")


async def test_a_zip_breaks_off_before_a_file_that_changed(tmp_path: Path) -> None:
    write_folder(tmp_path / "large", instances(series=1, per_series=2, rows=512))
    async with served(Root(tmp_path / "large"), catalogue=tmp_path / "catalogue.sqlite") as portal:
        (uid,) = portal.catalogue.series_uids()
        portal.catalogue.files(uid)[1].path.write_bytes(b"shorter")
        with pytest.raises(ClientError):
            await portal.ask("/download", params={"format": "zip", "series": uid})


@pytest.mark.parametrize(
    ("form", "series", "images", "reason"),
    [
        ("zip", 3, 33_333, None),
        ("zip", 3, 33_334, "no zip of more than 100,000 images"),
        ("zip", 100_001, 0, "more than 100,000 series"),
        ("lock", 2_001, 1, "more than 2,000 series"),
    ],
)
def test_what_is_sent_as_files_is_limited(form: str, series: int, images: int, reason: str | None) -> None:
    view = CatalogueView(lambda _query, values: [(images * len(values),)], lambda _: b"")
    chosen = (f"1.2.{number}" for number in range(series))
    if reason is None:
        assert len(bounded(view, chosen, form)) == series
    else:
        with pytest.raises(PageMissing, match=reason):
            bounded(view, chosen, form)


async def test_a_page_does_not_offer_what_would_be_refused(portal: Served) -> None:
    request = PageRequest(
        view=portal.catalogue, viewer=Viewer("x"), path="/", query=MultiDict(), origin="http://127.0.0.1", match={}
    )
    few, many = offers(request, ["1.2"], series=1, images=1), offers(request, [], series=2_001, images=100_001)
    assert list(few.forms) == ["tcia", "s5cmd", "csv", "lock", "zip"]
    assert list(many.forms) == ["tcia", "s5cmd", "csv"]
    assert ("2,000 series" in many.reasons[0], "100,000 images" in many.reasons[1]) == (True, True)


async def test_an_error_is_shown_where_the_browser_would_save_it(portal: Served) -> None:
    """A link with `download` saves whatever the server answers, or says that there is no file."""
    page = await portal.ask("/collection", params={"name": "OPEN"})
    links = re.findall(r'<a [^>]*href="/download[^>]*>', page.body.decode())
    assert len(links) == 5
    assert [link for link in links if " download" in link] == []


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
