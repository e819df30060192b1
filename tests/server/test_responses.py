"""Streams of answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from bulkdl.server.catalogue import Root
from tests.support.dicom_files import instances, write_folder
from tests.support.served_archive import Archive


async def test_a_long_list_is_streamed(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    made = write_folder(folder, instances(series=1, per_series=1500, collection="MANY"))
    archive.catalogue.scan([Root(folder)])
    answer = await archive.get(f"getSOPInstanceUIDs?SeriesInstanceUID={made[0].series_uid}")
    assert answer.headers.get("Transfer-Encoding") == "chunked"
    assert {row["SOPInstanceUID"] for row in answer.rows} == {one.sop_uid for one in made}


async def test_a_client_that_disconnects_does_not_affect_others(archive: Archive) -> None:
    """Half a bundle is read and the connection dropped; the threads must become free."""
    for _ in range(8):
        address = urlsplit(archive.base)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        path = f"{address.path}/v1/getImage?SeriesInstanceUID={archive.made[-1].series_uid}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.read(100)
        writer.transport.abort()
    assert (await archive.image(archive.made[0])).status == 200
    assert (await archive.get("getSeries")).status == 200
