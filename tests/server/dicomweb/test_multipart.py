"""Bodies of several parts, as pieces. `test_routes.py` reads them over real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.server.catalogue import Catalogue, Root
from bulkdl.server.dicomweb.multipart import Multipart, file_parts
from tests.support.dicom_files import instances, write_folder


def test_a_file_that_is_truncated_while_it_is_sent_is_an_error(tmp_path: Path) -> None:
    (made,) = write_folder(tmp_path / "served", instances(series=1, per_series=1, rows=1024))
    with Catalogue.open(tmp_path / "catalog.sqlite") as catalogue:
        catalogue.scan([Root(tmp_path / "served")])
        pieces = file_parts(Multipart("application/dicom"), catalogue.files(made.series_uid), lambda _: "/")
        assert next(pieces)
        (tmp_path / "served" / made.path).write_bytes(made.content[: 1 << 19])
        with pytest.raises(OSError, match="truncated while it was sent"):
            list(pieces)


def test_a_body_without_parts_has_its_end() -> None:
    multipart = Multipart("application/dicom")
    boundary = multipart.content_type.rpartition("=")[2].encode()
    assert b"".join(file_parts(multipart, [], lambda _: "/")) == b"--" + boundary + b"--\r\n"
