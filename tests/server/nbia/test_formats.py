"""Formats of search answers."""

from __future__ import annotations

import pytest

from tests.support.served_archive import FAILED, Archive


@pytest.mark.parametrize(
    ("word", "content_type", "start"),
    [
        ("json", "application/json", b"["),
        ("CSV", "text/csv", b'"PatientId","PatientName"'),
        ("csvQuoted", "text/csv", b'"PatientId","PatientName"'),
        ("CSV-DOWNLOAD", "text/csv", b'"PatientId","PatientName"'),
        ("xml", "application/xml", b"<?xml version="),
        ("HTML", "text/html", b"<P ALIGN="),
    ],
)
async def test_formats(archive: Archive, word: str, content_type: str, start: bytes) -> None:
    answer = await archive.get(f"getPatient?format={word}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.body.startswith(start)


@pytest.mark.parametrize("word", ["", "yaml"])
async def test_an_unknown_format_is_a_server_error(archive: Archive, word: str) -> None:
    answer = await archive.get(f"getPatient?format={word}")
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (500, "text/plain", FAILED)
