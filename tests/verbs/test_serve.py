"""Access rules are read from files, misspelt Collections are reported, and the server runs until its block ends."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bulkdl.errors import ConfigurationError, SelectionError
from bulkdl.verbs.connect import query
from bulkdl.verbs.connections.reach import reach
from bulkdl.verbs.plan import plan_async
from bulkdl.verbs.serve import read_rules, serve, serve_async
from tests.support.dicom_files import instances, write_folder


def test_rules_come_from_both_files(tmp_path: Path) -> None:
    keys, users = tmp_path / "keys", tmp_path / "users.toml"
    keys.write_text("one\ntwo\n")
    users.write_text(
        '[restricted]\ncollections = ["Secret"]\n[users.alice]\npassword = "p"\ncollections = ["secret"]\n'
    )
    rules = read_rules(keys, users)
    assert (rules.keys, rules.restricted) == (frozenset({"one", "two"}), frozenset({"SECRET"}))
    assert rules.users["alice"].collections == {"SECRET"}
    assert read_rules(keys, None).keys == {"one", "two"}
    assert read_rules(None, None).restricted == frozenset()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_editors_of_windows_are_read(encoding: str, tmp_path: Path) -> None:
    keys, users = tmp_path / "keys", tmp_path / "users.toml"
    keys.write_bytes("one\r\ntwo\r\n".encode(encoding))
    users.write_bytes('[users.alice]\r\npassword = "p"\r\n'.encode(encoding))
    rules = read_rules(keys, users)
    assert (rules.keys, set(rules.users)) == (frozenset({"one", "two"}), {"alice"})


@pytest.mark.parametrize("content", [None, b"\xff\xfehunter2"], ids=["missing", "no-text"])
def test_a_file_that_cannot_be_read_is_named_and_not_quoted(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "users.toml"
    if content is not None:
        path.write_bytes(content)
    for files in ((None, path), (path, None)):
        with pytest.raises(ConfigurationError, match=r"users\.toml cannot be read: ") as caught:
            read_rules(*files)
        assert "hunter2" not in str(caught.value)


async def test_a_restricted_collection_that_is_not_served_is_reported(tmp_path: Path) -> None:
    """A misspelt name would restrict nothing, without any sign of it."""
    write_folder(tmp_path / "files", instances(series=1, per_series=1))
    users = tmp_path / "users.toml"
    users.write_text('[restricted]\ncollections = ["made-up", "MADE UP"]\n')
    async with serve_async(tmp_path / "files", cache=tmp_path / "cache", users_file=users) as served:
        assert served.unmatched == ("MADE UP",)


def test_the_blocking_server_answers_until_its_block_ends(tmp_path: Path) -> None:
    write_folder(tmp_path / "files", instances(series=1, per_series=2, collection="FIRST"))
    with serve(tmp_path / "files", cache=tmp_path / "cache") as served:
        assert served.report.totals.instances == 2
        answer = query("getCollectionValues", archive=served.url)
        assert [record.collection for record in answer] == ["FIRST"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(served.url).port or 0))


def test_the_blocking_server_raises_what_prevents_its_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"), serve(tmp_path / "none", cache=tmp_path):
        pass


def test_the_blocking_server_ends_with_an_error_in_its_block(tmp_path: Path) -> None:
    write_folder(tmp_path / "files", instances(series=1, per_series=1))
    with pytest.raises(ZeroDivisionError), serve(tmp_path / "files", cache=tmp_path / "cache"):
        _ = 1 / 0


async def test_the_demonstration_says_what_its_phantoms_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    async with serve_async(demo=True, cache=tmp_path) as served:
        assert served.missing == "BULKDL-PHANTOM is not served, because it needs numpy: pip install 'bulkdl[demo]'"
    with pytest.raises(SelectionError, match=r"pip install 'bulkdl\[demo\]'"):
        await plan_async(collection="BULKDL-PHANTOM", archive=reach("demo", cache=tmp_path))
