"""The index page."""

from __future__ import annotations

from bulkdl.archive.nbia.endpoints import NBIA_V1
from tests.support.served_archive import Archive


async def test_the_index_page_lists_every_endpoint_and_escapes(archive: Archive) -> None:
    async with archive.session.get(archive.base.removesuffix("/nbia-api/services")) as response:
        page = await response.text()
    assert all(name in page for name in NBIA_V1)
    assert "&lt;b&gt;bold" in page
    assert "<b>bold" not in page
    assert "Doe &amp; Co." in page
    assert "<li>A missing, invalid or expired token is answered with 401 everywhere." in page
