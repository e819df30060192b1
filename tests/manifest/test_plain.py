from __future__ import annotations

import pytest

from bulkdl.errors import ManifestError
from bulkdl.manifest import plain
from bulkdl.manifest.base import Manifest, Remarks, collect
from tests.support.manifest_texts import text_of


def read(text: str, *, source: str) -> Manifest:
    return collect(plain.read(text_of(text), Remarks(source)))


def test_reads_uids_in_order_and_once() -> None:
    text = "1.2.3.4\n1.2.3.3,\n\n# comment\n  1.2.3.4 # again\n'1.2.3.2'\r\n"
    assert read(text, source="list").series == ("1.2.3.4", "1.2.3.3", "1.2.3.2")


@pytest.mark.parametrize("line", ["'1.2.3.4", '="1.2.3.4"', "=1.2.3.4", '"1.2.3.4",'])
def test_a_uid_protected_from_excel_is_read(line: str) -> None:
    assert plain.recognises(line)
    assert read(line, source="list").series == ("1.2.3.4",)


def test_says_which_line_is_invalid() -> None:
    with pytest.raises(ManifestError, match=r"list, line 3: '1\.2\.3\.4 1\.2\.3\.5' is not a UID"):
        read("1.2.3.3\n\n1.2.3.4 1.2.3.5\n", source="list")


def test_refuses_a_list_of_comments() -> None:
    with pytest.raises(ManifestError, match="empty"):
        read("# nothing\n\n", source="list")


@pytest.mark.parametrize(
    ("text", "is_list"),
    [
        ("1.2.3.4\n", True),
        ("# comment\n1.2.3.4 # comment\n", True),
        ("1.2.3.4x\n1.2.3.5\n", True),
        ("1.2.3.4,\n1.2.3.5,\n", True),
        ("1.2.3.4,1.2.3.5\n", False),
        ("1.2.3.4\t1.2.3.5\n", False),
        ("SeriesInstanceUID\n1.2.3.4\n", False),
        ("2.25.102026903840934844824933437716292958078\n", True),
        ("2.25\n2.26\n", False),
        ("12\n13\n", False),
        ("", False),
    ],
)
def test_a_list_is_distinguished_from_a_table(text: str, is_list: bool) -> None:  # noqa: FBT001 - a table of cases
    assert plain.recognises(text) == is_list
