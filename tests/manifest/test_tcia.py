from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import ManifestError
from bulkdl.manifest import tcia
from bulkdl.manifest.base import Manifest, Remarks, collect
from tests.support.manifest_texts import text_of

HEAD = """\
downloadServerUrl=https://example.org/nbia-download/servlet/DownloadServlet
includeAnnotation=true
noOfrRetry=4
databasketId=manifest-1.tcia
manifestVersion=3.0
ListOfSeriesToDownload=
"""
UIDS = st.lists(st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,6}){3,7}", fullmatch=True), min_size=1, max_size=20)


def read(text: str, *, source: str) -> Manifest:
    return collect(tcia.read(text_of(text), Remarks(source)))


def parse(text: str) -> tuple[str, ...]:
    return read(text, source="m.tcia").series


def test_reads_series_in_order_and_once() -> None:
    assert parse(HEAD + "1.2.3\n1.2.1\n1.2.3\n1.2.2\n") == ("1.2.3", "1.2.1", "1.2.2")


def test_settings_are_kept_as_written() -> None:
    settings = read(HEAD + "1.2.3\n", source="m").settings
    assert settings["downloadServerUrl"] == "https://example.org/nbia-download/servlet/DownloadServlet"
    assert list(settings) == ["downloadServerUrl", "includeAnnotation", "noOfrRetry", "databasketId", "manifestVersion"]


@given(UIDS, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", ",", "  ", "\t", " , "]), st.booleans())
def test_line_ends_blanks_and_commas_change_nothing(uids: list[str], end: str, behind: str, final_end: bool) -> None:  # noqa: FBT001 - hypothesis passes by position
    text = HEAD.replace("\n", end) + f"{behind}{end}".join(uids) + (end if final_end else "")
    assert parse(text) == tuple(dict.fromkeys(uids))


@pytest.mark.parametrize(
    "text",
    [
        HEAD.upper().replace("MANIFESTVERSION", "manifestVersion") + "1.2.3",
        HEAD.replace("ListOfSeriesToDownload=", " listofseriestodownload = ") + "1.2.3",
        HEAD.replace("ListOfSeriesToDownload=", "ListOfSeriesToDownload") + "1.2.3",
        HEAD.strip() + "1.2.3",
        "# made by hand\n\n" + HEAD + "\n# the only one\n\n1.2.3\n\n",
        "ListOfSeriesToDownload=\n1.2.3",
        HEAD.replace("3.0", "3.1") + "1.2.3",
        HEAD.replace("3.0", "4.0") + "1.2.3",
        HEAD.replace("3.0", "12") + "1.2.3",
        HEAD.replace("3.0", "") + "1.2.3",
    ],
    ids=[
        "upper case",
        "blanks",
        "no equals sign",
        "on the heading's line",
        "comments",
        "no settings",
        "3.1",
        "4.0",
        "12",
        "no version",
    ],
)
def test_reads_what_differs_only_in_writing(text: str) -> None:
    assert parse(text) == ("1.2.3",)


@pytest.mark.parametrize("version", ["manifestVersion=1.0\n", "manifestVersion=2.0\n", ""])
def test_old_versions_list_records(version: str) -> None:
    record = "TCGA-GBM|TCGA-06-0119|1.2.9|1.2.3|No|20|1024|0|url|name|true"
    assert parse(f"{version}ListOfSeriesToDownload=\n{record}\n1.2.4\n") == ("1.2.3", "1.2.4")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (HEAD + "1.2.3\n1.2.x\n", 8, "'1.2.x' is not a UID"),
        (HEAD + "1.2.3\n\n# comment\n1.2 .4\n", 10, "'1.2 .4' is not a UID"),
        (HEAD + "1.2.3 1.2.4\n", 7, "is not a UID"),
        (HEAD + "9" * 65 + "\n", 7, "is not a UID"),
        (HEAD + "a|b|1.2.9|1.2.3\n", 7, "is not a UID"),
        ("manifestVersion=1.0\nListOfSeriesToDownload=\na|b|1.2.9\n", 3, "fewer than four fields"),
        ("downloadServerUrl=x\n1.2.3\n", 2, "neither a setting nor a heading"),
    ],
    ids=[
        "letter",
        "blank inside",
        "two in a line",
        "too long",
        "record in version 3",
        "short record",
        "before heading",
    ],
)
def test_says_which_line_is_invalid(text: str, line: int, says: str) -> None:
    with pytest.raises(ManifestError, match=f"m.tcia, line {line}: ") as caught:
        parse(text)
    assert says in str(caught.value)
    assert (caught.value.source, caught.value.line) == ("m.tcia", line)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("downloadServerUrl=x\nmanifestVersion=3.0\n", "no list of series found"),
        (HEAD, "the list of series is empty"),
    ],
    ids=["no heading", "no series"],
)
def test_rejects_a_manifest_without_series(text: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        parse(text)


def test_a_composed_manifest_is_read_back() -> None:
    uids = ("1.2.3", "1.2.4")
    manifest = read(
        tcia.compose(uids, archive="https://archive.test/", name="m.tcia", annotations=True), source="composed"
    )
    assert manifest.series == uids
    assert manifest.settings["includeAnnotation"] == "true"


@pytest.mark.parametrize(
    ("archive", "server"),
    [
        ("https://a.test/nbia-api/services/", "https://a.test"),
        ("https://a.test:8443/nbia-api/services/v4", "https://a.test:8443"),
        ("http://proxy.test/tcia/nbia-api/services", "http://proxy.test/tcia"),
        ("https://a.test/services/v3/TCIA/query", "https://a.test"),
        ("https://a.test", "https://a.test"),
    ],
)
def test_a_composed_manifest_names_the_download_server_of_the_archive(archive: str, server: str) -> None:
    """NBIA's Data Retriever replaces the end of this address to reach the API."""
    manifest = read(tcia.compose(["1.2.3"], archive=archive, name="m.tcia"), source="composed")
    assert manifest.settings["downloadServerUrl"] == f"{server}/nbia-download/servlet/DownloadServlet"
