"""An open catalogue: MD5s, and queries from many threads."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bulkdl.server.catalogue import Catalogue, CatalogueView, Root
from bulkdl.server.catalogue.holdings import HeldFile, Holdings
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


def enter(catalogue: Catalogue, folder: Path, numbers: dict[str, str | None]) -> None:
    """Enter files as those of a mirror are: without the numbers in their headers."""
    files = []
    for uid, number in numbers.items():
        path = put(folder, f"{uid}.dcm", one(SOPInstanceUID=uid, InstanceNumber=number, SeriesInstanceUID="1.2"))
        status = path.stat()
        files.append(HeldFile(uid, path.name, status.st_size, status.st_mtime_ns, None))
    Holdings(catalogue, folder).enter("1.2", "", files)


def order_of(view: CatalogueView) -> list[str]:
    return [file.sop_uid for file in view.files("1.2")]


@pytest.mark.parametrize("hidden", [frozenset[str](), frozenset({"OTHER"})])
def test_the_files_of_a_mirror_are_sorted_by_their_numbers_once_these_are_needed(
    tmp_path: Path, hidden: frozenset[str]
) -> None:
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        enter(catalogue, tmp_path, {"1.2.1": "10", "1.2.2": "9", "1.2.3": None, "1.2.4": "-1"})
        assert order_of(catalogue) == ["1.2.1", "1.2.2", "1.2.3", "1.2.4"]
        catalogue.without(hidden).number_files("1.2")
        assert order_of(catalogue) == ["1.2.3", "1.2.4", "1.2.2", "1.2.1"]
        for file in catalogue.files("1.2"):
            file.path.write_bytes(b"read no more")
        catalogue.number_files("1.2")
        assert order_of(catalogue) == ["1.2.3", "1.2.4", "1.2.2", "1.2.1"]


def test_a_file_that_cannot_be_read_has_no_number(tmp_path: Path) -> None:
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        enter(catalogue, tmp_path, {"1.2.1": "2", "1.2.2": "1"})
        (tmp_path / "1.2.2.dcm").unlink()
        catalogue.number_files("1.2")
        assert [(file.sop_uid, file.instance_number) for file in catalogue.files("1.2")] == [
            ("1.2.2", None),
            ("1.2.1", 2),
        ]
