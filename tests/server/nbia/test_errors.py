"""Error responses of NBIA."""

from __future__ import annotations

import pytest

from tests.support.served_archive import Archive


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ("getSeriesSize", "A parameter, SeriesInstanceUID is required for this API call."),
        ("getSOPInstanceUIDs", "A parameter, SeriesInstanceUID is required for this API call."),
        ("getImage", "A parameter, SeriesInstanceUID, is required for this API call."),
        ("getImageWithMD5Hash", "A parameter, SeriesInstanceUID, is required for this API call."),
        (
            "getSingleImage?SeriesInstanceUID=1.2",
            "A parameter, SeriesInstanceUID and SOPInstanceUID, are required for this API call.",
        ),
        ("getContentsByName", "A parameter, name is required for this API call."),
    ],
)
async def test_a_missing_parameter_is_a_sentence_labelled_json(archive: Archive, endpoint: str, sentence: str) -> None:
    answer = await archive.get(endpoint)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
    assert answer.body.decode() == sentence


@pytest.mark.parametrize("path", ["getNothing", "../v9/getSeries", "getSeries/more", "%2e%2e/%2e%2e/etc/passwd"])
async def test_an_unknown_endpoint_is_a_page(archive: Archive, path: str) -> None:
    answer = await archive.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html")


async def test_rejects_a_wrong_method(archive: Archive) -> None:
    assert (await archive.get("getSeries", method="POST")).status == 405
