"""A folder to serve, and a catalogue of two Collections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkdl.server.catalogue import Catalogue, Root
from tests.support.dicom_files import instances, write_folder


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def catalogue(served: Path, tmp_path: Path) -> Iterator[Catalogue]:
    write_folder(served, instances(series=4, per_series=3, collection="Lung"))
    write_folder(served, instances(series=2, per_series=1, collection="Straße", seed="x"))
    with Catalogue.open(tmp_path / "catalog.sqlite") as opened:
        opened.scan([Root(served)])
        yield opened
