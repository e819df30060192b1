"""The digests are those of hashlib, whichever way the bytes arrive."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from bulkdl.fetch.digests import Digests, Hashing, digests_of, digests_of_file

if TYPE_CHECKING:
    from pathlib import Path


def expected(content: bytes) -> Digests:
    md5 = hashlib.md5(content, usedforsecurity=False).digest()
    return Digests(len(content), md5, hashlib.sha256(content).digest())


@given(st.lists(st.binary(max_size=40)))
def test_pieces_have_the_digests_of_the_whole(pieces: list[bytes]) -> None:
    hashing = Hashing()
    for piece in pieces:
        hashing.update(memoryview(piece))
    assert hashing.digests() == digests_of(b"".join(pieces)) == expected(b"".join(pieces))


def test_a_file_has_the_digests_of_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = b"abc" * (1 << 20)
    path.write_bytes(content)
    assert digests_of_file(path) == expected(content)


def test_a_file_may_be_hashed_after_earlier_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"second")
    hashing = Hashing()
    hashing.update(b"first")
    hashing.update_from(path)
    assert hashing.digests() == expected(b"firstsecond")
