"""Passwords of a users file."""

from __future__ import annotations

import pytest

from bulkdl.server.passwords import check_stored, hash_password, is_password


def test_a_hash_hides_the_password_and_differs_each_time() -> None:
    first, second = hash_password("let me in"), hash_password("let me in")
    assert first != second
    assert "let me in" not in first


@pytest.mark.parametrize("stored", ["let me in", hash_password("let me in")], ids=["plain", "hashed"])
def test_recognises_the_password_and_no_other(stored: str) -> None:
    check_stored(stored)
    assert is_password("let me in", stored)
    assert not any(is_password(other, stored) for other in ("", "let me", "Let me in", stored + " ", "\udcff"))


@pytest.mark.parametrize("stored", ["scrypt$1$2", "scrypt$3$8$1$00$00", "scrypt$16384$8$1$zz$00", "scrypt$"])
def test_rejects_an_invalid_hash(stored: str) -> None:
    with pytest.raises(ValueError, match="not a valid hash"):
        check_stored(stored)
