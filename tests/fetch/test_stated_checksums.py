"""The checksums that a response states of its object."""

from __future__ import annotations

import base64
import hashlib
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from multidict import CIMultiDict

from bulkdl.errors import ChecksumMismatch
from bulkdl.fetch.stated_checksums import compare_stated, stated_checksums

CONTENT = b"the bytes of an object" * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).digest()
CRC = zlib.crc32(CONTENT).to_bytes(4, "big")  # stands for that of another polynomial
TEXTS = {"md5": f"md5={base64.b64encode(MD5).decode()}", "crc32c": f"crc32c={base64.b64encode(CRC).decode()}"}


@pytest.mark.parametrize(
    "lines",
    [[f"{TEXTS['crc32c']},{TEXTS['md5']}"], [TEXTS["crc32c"], TEXTS["md5"]], [f"{TEXTS['md5']} , {TEXTS['crc32c']}"]],
    ids=["one line", "two lines", "blanks"],
)
def test_reads_the_hashes_of_google(lines: list[str]) -> None:
    assert stated_checksums(CIMultiDict(("X-Goog-Hash", line) for line in lines)) == {"md5": MD5, "crc32c": CRC}


@pytest.mark.parametrize("text", ["", "md5", "md5=", "md5=AAAA", "md5=???", "sha1=AAAAAA==", "=,=,,", "crc32c=\xff"])
def test_leaves_out_what_it_cannot_read(text: str) -> None:
    assert stated_checksums({"x-goog-hash": text}) == {}


@pytest.mark.parametrize("name", ["md5", "crc32c"])
@pytest.mark.parametrize("is_file", [False, True])
def test_other_bytes_are_a_mismatch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, is_file: bool
) -> None:
    monkeypatch.setitem(sys.modules, "crc32c", SimpleNamespace(crc32c=zlib.crc32))
    stated = {name: {"md5": MD5, "crc32c": CRC}[name]}
    for content in (CONTENT, CONTENT[:-1] + b"?"):
        (path := tmp_path / "file").write_bytes(content)
        if content == CONTENT:
            assert compare_stated(path if is_file else content, stated)
        else:
            with pytest.raises(ChecksumMismatch, match="the archive states"):
                compare_stated(path if is_file else content, stated)


def test_a_crc_is_not_compared_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crc32c", None)
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert not compare_stated(CONTENT, {"crc32c": CRC})
