"""Rows of the Advanced API."""

from __future__ import annotations

from pathlib import Path

from bulkdl.server.catalogue import About, Root
from tests.support.dicom_files import instances, write_folder
from tests.support.served import served


async def test_a_collection_without_a_description_is_described_by_its_name(tmp_path: Path) -> None:
    """Nbiatoolkit fails for an empty description."""
    roots = [
        Root(tmp_path / "a", "PLAIN <1>"),
        Root(tmp_path / "b", "DESCRIBED", About(description="Some scans.", citation="Doe")),
    ]
    for number, root in enumerate(roots):
        write_folder(root.path, instances(series=1, per_series=1, seed=str(number)))
    async with served(*roots, catalogue=tmp_path / "catalog.sqlite") as running:
        rows = (await running.nbia("getCollectionDescriptions", token=await running.log_in())).document
    assert {row["collectionName"]: row["description"] for row in rows} == {
        "PLAIN <1>": "<p>PLAIN &lt;1&gt;</p>",
        "DESCRIBED": "<p>Some scans.</p><p>Doe</p>",
    }
