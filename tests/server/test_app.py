"""The server: its access log and its address."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from bulkdl.errors import ConfigurationError
from bulkdl.server.app import make_app, serving
from tests.support.served_archive import Archive


async def test_the_log_has_one_record_for_each_request(archive: Archive) -> None:
    large = archive.made[-1]
    for made in (archive.made[0], large):
        await archive.image(made)
    await archive.get("getSeries?Collection=NONE")
    assert [(r.method, r.status, r.bytes_sent) for r in archive.log] == [
        ("GET", 200, len(archive.made[0].content)),
        ("GET", 200, len(large.content)),
        ("GET", 200, 0),
    ]
    assert archive.log[2].path_qs == "/nbia-api/services/v1/getSeries?Collection=NONE"


async def test_an_address_in_use_is_a_configuration_error(archive: Archive) -> None:
    port = urlsplit(archive.base).port
    with pytest.raises(ConfigurationError, match=f"port {port}"):
        async with serving(make_app(archive.catalogue), port=port or 0):
            pass
