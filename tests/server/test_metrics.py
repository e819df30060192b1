"""What the server counts, as Prometheus reads it."""

from __future__ import annotations

import re

from tests.support.served_archive import Archive

SAMPLE = re.compile(r'[a-z_]+(?:\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+\})? [0-9.e+-]+')


async def test_counts_requests_by_their_route_and_status(archive: Archive) -> None:
    await archive.image(archive.made[0])
    for path in ("getSeries", "getSeries?Collection=LUNG", "none/of/these", 'none"\\'):
        await archive.get(path)
    origin = archive.base.removesuffix("/nbia-api/services")
    async with archive.session.get(f"{origin}/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await response.text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if SAMPLE.fullmatch(line) is None] == []
    assert 'bulkdl_requests_total{endpoint="/nbia-api/services/v1/getSeries",status="200"} 2' in lines
    assert 'bulkdl_requests_total{endpoint="/{anything}",status="404"} 2' in lines
    sent = next(int(line.split()[1]) for line in lines if line.startswith("bulkdl_sent_bytes_total"))
    assert sent >= len(archive.made[0].content)
    assert "bulkdl_connections 1" in lines


async def test_counts_no_body_where_none_was_sent(archive: Archive) -> None:
    for made in (archive.made[0], archive.made[-1]):
        assert (await archive.image(made, method="HEAD")).status == 200
    origin = archive.base.removesuffix("/nbia-api/services")
    async with archive.session.get(f"{origin}/metrics") as response:
        assert "bulkdl_sent_bytes_total 0\n" in await response.text()
