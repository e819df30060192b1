"""Which Collection a file belongs to."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from bulkdl.server.catalogue import About, Catalogue, Root
from tests.support.catalogue_files import one, put, scan


def with_ctp(collection: str) -> bytes:
    made = dcmread(BytesIO(one()))
    made.private_block(0x0013, "CTP", create=True).add_new(0x10, "LO", collection)
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "of_root", "argument", "collection"),
    [
        (with_ctp("OF-CTP"), "TOP/x.dcm", "OF-ROOT", "ARGUMENT", "OF-CTP"),
        (one(), "TOP/x.dcm", "OF-ROOT", "ARGUMENT", "OF-ROOT"),
        (one(), "TOP/BELOW/x.dcm", None, "ARGUMENT", "TOP"),
        (one(), "x.dcm", None, "ARGUMENT", "ARGUMENT"),
        (one(), "x.dcm", None, None, "served"),
    ],
    ids=["ctp", "root", "top-folder", "argument", "name-of-the-folder"],
)
def test_where_the_collection_comes_from(
    served: Path, tmp_path: Path, content: bytes, name: str, of_root: str | None, argument: str | None, collection: str
) -> None:
    put(served, name, content)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served, of_root)], collection=argument)
        assert catalogue.collections() == [collection]


def test_a_root_adds_what_files_do_not_contain(served: Path, tmp_path: Path) -> None:
    put(served, "x.dcm", one())
    about = About(
        description="d",
        citation="c",
        license_name="CC BY 4.0",
        license_uri="https://l",
        collection_uri="https://u",
        released=date(2021, 7, 15),
    )
    scan(tmp_path / "catalog.sqlite", served)
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(served, "C", about)])  # nothing of the files has changed
        (series,) = catalogue.series()
        assert catalogue.about("c") == about
        assert series.collection == "C"
        assert (series.license_name, series.license_uri) == ("CC BY 4.0", "https://l")
        assert (series.collection_uri, series.released) == ("https://u", date(2021, 7, 15))


def test_patterns_choose_files_of_a_root(served: Path, tmp_path: Path) -> None:
    put(served, "a/x.dcm", one(SOPInstanceUID="1.1"))
    put(served, "b/deep/y.dcm", one(SOPInstanceUID="1.2"))
    assert scan(tmp_path / "catalog.sqlite", Root(served, "A", only=("b/*",))).files == 1
