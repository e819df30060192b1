"""A picture of a hostile file neither ends the server nor takes much of its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks.hostile_files import HOSTILE
from tests.attacks.serving import SERVICES, Server, serving
from tests.attacks.watching import Watcher
from tests.support.dicom_files import MadeUp, instances

MADE_UP = list(instances(series=1, per_series=4, rows=64))


async def draw(server: Server, one: MadeUp) -> int:
    form = f"seriesUID={one.series_uid}&objectUID={one.sop_uid}".encode()
    return (await server.post(f"{SERVICES}/v4/getThumbnail", form)).status


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_picture_of_a_hostile_file_is_refused_or_drawn_in_little_memory(
    name: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    for number, one in enumerate(MADE_UP):
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content if number == 3 else HOSTILE[name](one))
    async with serving(bulkdl, folder) as server:
        for one in MADE_UP[:3]:
            assert await draw(server, one) in {200, 400, 404, 415, 422, 500}
        assert await draw(server, MADE_UP[3]) == 200
        for one, status in ((MADE_UP[0], {200, 406}), (MADE_UP[3], {200})):
            instance = f"/dicom-web/studies/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_uid}"
            for what in ("metadata", "frames/1", "rendered", "bulkdata/7FE00010"):
                assert (await server.get(f"{instance}/{what}")).status in status, what
