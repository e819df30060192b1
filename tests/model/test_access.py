"""How an archive is reached: the secrets in it are known, and are in no representation."""

from __future__ import annotations

import pytest

from bulkdl.model.access import Access, Credentials

PROXY = "http://me:p%40ss@proxy.example:3128"


@pytest.mark.parametrize("secret", ["key-1", "word-2", "p%40ss", "p@ss"])
def test_a_representation_shows_no_secret(secret: str) -> None:
    credentials = Credentials(api_key="key-1", username="me", password="word-2")  # noqa: S106 - made up
    access = Access(proxy=PROXY, credentials=credentials)

    assert secret not in repr(access)
    assert secret in access.secrets


def test_the_encoded_password_of_the_proxy_is_a_secret() -> None:
    assert "bWU6cEBzcw==" in Access(proxy=PROXY).secrets


def test_a_proxy_without_a_password_adds_no_secret() -> None:
    assert Access(proxy="http://proxy.example:3128").secrets == ()
