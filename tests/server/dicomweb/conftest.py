"""A folder served through DICOMweb: two Studies of two Series each in LUNG, one of a restricted Collection."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from bulkdl.server.access import AccessRules, User
from bulkdl.server.catalogue import Root
from tests.support.catalogue_files import one
from tests.support.dicom_files import MadeUp, instances, uid, write_folder
from tests.support.served import Answer, Served, served

RULES = AccessRules(
    users={"alice": User("alice", "pass: word", frozenset({"SECRET"}))}, restricted=frozenset({"SECRET"})
)
UMLAUT = uid("umlaut")


@dataclass
class Web:
    """The server, and what it serves; `secret` is restricted."""

    server: Served
    made: list[MadeUp]
    secret: MadeUp

    def of(self, series_uid: str) -> list[MadeUp]:
        return [each for each in self.made if each.series_uid == series_uid]


def parts_of(answer: Answer) -> list[tuple[dict[str, str], bytes]]:
    """The headers and the content of each part of a body, which is checked byte by byte (RFC 2046 §5.1.1)."""
    found = re.fullmatch(r'multipart/related; type="([^"]+)"; boundary=(\w+)', answer.kind)
    assert found is not None
    delimiter = f"--{found[2]}".encode()
    begin, *parts, end = (b"\r\n" + answer.body).split(b"\r\n" + delimiter)
    assert (begin, end) == (b"", b"--\r\n")
    split = []
    for part in parts:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        assert headers["Content-Length"] == str(len(content))
        assert headers["Content-Type"].partition(";")[0] == found[1]
        split.append((headers, content))
    return split


def path_of(made: MadeUp, level: str = "instances") -> str:
    """The path of an instance, of its Series or of its Study."""
    study = f"/dicom-web/studies/{made.study_uid}"
    return {
        "studies": study,
        "series": f"{study}/series/{made.series_uid}",
        "instances": f"{study}/series/{made.series_uid}/instances/{made.sop_uid}",
    }[level]


@pytest_asyncio.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    folder = tmp_path / "served"
    made = write_folder(folder, instances(series=4, per_series=3, collection="LUNG"))
    (secret,) = write_folder(folder, instances(series=1, per_series=1, collection="SECRET"))
    changed = one(
        SOPInstanceUID=UMLAUT,
        SeriesInstanceUID=UMLAUT,
        StudyInstanceUID=UMLAUT,
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Jörg",
        PatientID="x%1",
        PatientBirthDate="19700301",
        PatientSex="O",
        StudyDate="20040119",
        StudyDescription="Abdomen, with contrast",
        StudyID="S1",
        SeriesDescription="Axial",
        Modality="MR",
    )
    (folder / "LUNG" / "umlaut.dcm").write_bytes(changed)
    async with served(Root(folder), catalogue=tmp_path / "catalog.sqlite", rules=RULES) as server:
        yield Web(server, made, secret)
