"""An open catalogue: MD5s, and queries from many threads."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bulkdl.server.catalogue import Catalogue, Root
from tests.support.catalogue_files import one, put


def test_the_md5_is_computed_once_and_not_for_other_bytes(served: Path, tmp_path: Path) -> None:
    path = put(served, "x.dcm", one())
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served)])
        (series,) = catalogue.series()
        (file,) = catalogue.files(series.series_uid)
        assert catalogue.md5(file) == hashlib.md5(one(), usedforsecurity=False).digest()
        (remembered,) = catalogue.files(series.series_uid)
        assert remembered.md5 == catalogue.md5(file)
        path.write_bytes(b"altered")
        with pytest.raises(OSError, match="has changed since the scan"):
            catalogue.md5(file)


def test_many_threads_can_query_at_once(catalogue: Catalogue) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: len(list(catalogue.series())), range(40)))
    assert answers == [6] * 40
