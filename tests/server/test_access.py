"""Keys and users, as their files define them."""

from __future__ import annotations

import pytest

from bulkdl.errors import ConfigurationError
from bulkdl.server.access import AccessRules, User, read_keys, read_users


def test_rejects_a_file_without_keys() -> None:
    with pytest.raises(ConfigurationError, match="keys contains no API key"):
        read_keys("# none\n\n", source="keys")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[users.a", "not valid TOML: see end of document"),
        ("a = 1\nhunter2", "not valid TOML: see "),
        ("[users.a]\npassword = 'p'\ncolections = []", "unknown key 'colections'"),
        ("[users.a]\ncollections = []", "has no password"),
        ("[users.a]\npassword = 'p'\ncollections = ['X']", "not a restricted Collection: X"),
        ("[users.a]\npassword = 'scrypt$1$2'", r"begins with scrypt\$ but is not a valid hash"),
        ("[restricted]\ncollections = 'X'", "not a list of names"),
        ("restricted = ['X']", "restricted is not a table"),
        ("users = 3", "users is not a table"),
        ("users.a = 'hunter2'", r"\[users.a\] is not a table"),
        ("token_seconds = 0", "not a positive number of seconds"),
        ("token_seconds = true", "not a positive number of seconds"),
        ("tokens = 0", "unknown key 'tokens'"),
    ],
)
def test_says_what_is_wrong_with_a_users_file(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"users.toml.*{says}"):
        read_users(text, source="users.toml")


@pytest.mark.parametrize("text", ["[users.a]\npassword = 'hunter2", "[users.a]\npassword = ['hunter2']", "a = hunter2"])
def test_no_message_shows_a_password(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_users(text, source="users.toml")
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


def test_no_representation_shows_a_secret() -> None:
    user = User("a", "hunter2")
    assert "hunter2" not in repr([user, AccessRules(keys=frozenset({"hunter2"}), users={"a": user})])
