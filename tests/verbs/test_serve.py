"""Who may see what is read from files, and a misspelt name is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.errors import ConfigurationError
from bulkdl.verbs.serve import read_rules, serving
from tests.support.dicom_files import instances, write_folder


def test_rules_come_from_both_files(tmp_path: Path) -> None:
    keys, users = tmp_path / "keys", tmp_path / "users.toml"
    keys.write_text("one\ntwo\n")
    users.write_text(
        '[restricted]\ncollections = ["Secret"]\n[users.alice]\npassword = "p"\ncollections = ["secret"]\n'
    )
    rules = read_rules(api_key_file=keys, users_file=users)
    assert (rules.keys, rules.restricted) == ({"one", "two"}, {"SECRET"})
    assert rules.users["alice"].collections == {"SECRET"}
    assert read_rules(api_key_file=keys).keys == {"one", "two"}
    assert read_rules().restricted == frozenset()


@pytest.mark.parametrize("content", [None, b"\xff\xfehunter2"], ids=["missing", "no-text"])
def test_a_file_that_cannot_be_read_is_named_and_not_quoted(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "users.toml"
    if content is not None:
        path.write_bytes(content)
    for files in ({"users_file": path}, {"api_key_file": path}):
        with pytest.raises(ConfigurationError, match=r"users\.toml cannot be read: ") as caught:
            read_rules(**files)
        assert "hunter2" not in str(caught.value)


async def test_a_restricted_collection_that_is_not_served_is_told(tmp_path: Path) -> None:
    """A misspelt name would restrict nothing, and nobody would notice."""
    write_folder(tmp_path / "files", instances(series=1, per_series=1))
    users = tmp_path / "users.toml"
    users.write_text('[restricted]\ncollections = ["made-up", "MADE UP"]\n')
    async with serving([tmp_path / "files"], cache=tmp_path / "cache", rules=read_rules(users_file=users)) as served:
        assert served.unmatched == ("MADE UP",)
