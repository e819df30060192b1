"""The text of a manifest is the same however it is read, wherever its pieces end."""

from __future__ import annotations

import codecs
import io
import itertools
import json
from collections.abc import Iterator
from functools import partial

import pytest

from bulkdl.errors import ManifestError
from bulkdl.manifest import read_manifest, structured
from bulkdl.manifest.base import Remarks, collect
from bulkdl.manifest.text import ManifestText

LINES = "SeriesInstanceUID,Ä\r\n1.2.3.4,ü\r\n1.2.3.5,€\r\n"
UIDS = ("1.2.3.4", "1.2.3.5")
UUID = "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a"


PIECES = pytest.mark.parametrize("piece", [1, 2, 3, 7, 1 << 18])


def text_of(content: bytes, piece: int) -> ManifestText:
    return ManifestText(partial(io.BytesIO, content), Remarks("-"), piece_bytes=piece)


def series_of(content: str, piece: int) -> tuple[str, ...]:
    return collect(structured.read(text_of(content.encode(), piece), Remarks("-"))).series


@PIECES
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_and_pieces_are_decoded(encoding: str, piece: int) -> None:
    read = text_of(LINES.encode(encoding), piece)
    assert (list(read.lines()), "".join(read.pieces()), read.head) == (LINES.splitlines(keepends=True), LINES, LINES)
    assert (read.is_empty, read.is_binary) == (False, False)
    assert list(read.lines()) == LINES.splitlines(keepends=True)


@PIECES
def test_what_is_not_utf_8_is_latin_1(piece: int) -> None:
    content = "# Müller\n1.2.3.4\n".encode("latin-1")
    assert "".join(text_of(content, piece).lines()) == "# Müller\n1.2.3.4\n"
    assert read_manifest(content, source="-").series == UIDS[:1]


@PIECES
@pytest.mark.parametrize(
    "content",
    [
        json.dumps([{"SeriesInstanceUID": uid, "n": 12345.678} for uid in UIDS]),
        json.dumps(UIDS, indent=3),
        "\n\n".join(json.dumps({"SeriesInstanceUID": uid}) for uid in UIDS),
        json.dumps({"answer": {"x": None}, "series": list(UIDS)}),
        " [ \n" + ",\n".join(f'"{uid}"' for uid in UIDS) + "\n]\n",
    ],
)
def test_json_is_read_wherever_a_piece_ends(content: str, piece: int) -> None:
    assert series_of(content, piece) == UIDS


@PIECES
@pytest.mark.parametrize(
    ("content", "line"), [('["1.2.3.4",\n"1.2.3.5', 2), ('["1.2.3.4" "1.2.3.5"]', 1), ('[\n"1.2.3.4",\nnul]', 3)]
)
def test_json_that_is_cut_or_invalid_is_named_by_its_line(content: str, line: int, piece: int) -> None:
    with pytest.raises(ManifestError, match="the JSON is invalid or truncated") as caught:
        series_of(content, piece)
    assert caught.value.line == line


def test_a_file_that_cannot_be_read_says_so() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 0:
                raise OSError(5, "Input/output error")
            return super().read(4 if size is None or size > 4 else size)

    with pytest.raises(ManifestError, match="cannot be read: Input/output error"):
        read_manifest(lambda: Broken(codecs.BOM_UTF8 + b"1.2.3.4\n"), source="-")


LONG = "1," * 600_000


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (f"1.2.3.4\n{LONG}", 2, "line"),
        (f"ListOfSeriesToDownload=\n1.2.3.4\n{LONG}", 3, "line"),
        (f"cp s3://a-b/{UUID}/* .\ncp {LONG}", 2, "line"),
        (f"SeriesInstanceUID,x\n1.2.3.4,{LONG}", 2, "line"),
        ("SeriesInstanceUID,x\n1.2.3.4" + ',"a\n"' * 300_000, 209_716, "row"),
    ],
    ids=["list", "tcia", "s5cmd", "csv", "csv with a row of many lines"],
)
def test_a_line_without_an_end_is_refused_before_it_is_read(content: str, line: int, says: str) -> None:
    with pytest.raises(ManifestError, match=f"the {says} has more than 1,048,576 characters") as caught:
        read_manifest(content.encode(), source="-")
    assert caught.value.line == line


def test_an_element_without_an_end_is_refused() -> None:
    with pytest.raises(ManifestError, match="line 2: the element has more than 67,108,864 characters"):
        structured.read(Endless('[\n"'), Remarks("-"))


class Endless:
    """A text that begins so and goes on with digits."""

    def __init__(self, head: str) -> None:
        self.head = head

    def lines(self) -> Iterator[str]:
        return self.pieces()

    def pieces(self) -> Iterator[str]:
        yield self.head
        yield from itertools.repeat("1" * (1 << 20))
