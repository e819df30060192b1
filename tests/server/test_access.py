"""Keys and users, as their files define them; logins and tokens, on a clock that the tests set."""

from __future__ import annotations

import pytest

from bulkdl.errors import ConfigurationError
from bulkdl.server.access import (
    GUEST,
    AccessRules,
    Authenticator,
    CredentialProblem,
    User,
    Viewer,
    read_keys,
    read_users,
)
from bulkdl.server.passwords import hash_password

USERS = """
token_seconds = 2
refresh_seconds = 10

[restricted]
collections = ["Secret-Lung", "Secret-Brain"]

[users.alice]
password = "open sesame"
collections = ["SECRET-LUNG"]

[users.bob]
password = "HASH"
""".replace("HASH", hash_password("let me in"))


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


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(clock: Clock) -> Authenticator:
    return Authenticator(read_users(USERS, source="users.toml"), clock=clock)


def bearer(token: str) -> str:
    return f"Bearer {token}"


def test_hides_from_a_user_what_is_restricted_to_others(authenticator: Authenticator) -> None:
    for name, password, hidden in (
        ("alice", "open sesame", {"SECRET-BRAIN"}),
        ("bob", "let me in", {"SECRET-BRAIN", "SECRET-LUNG"}),
        (GUEST, "whatever", {"SECRET-BRAIN", "SECRET-LUNG"}),
    ):
        login = authenticator.log_in(name, password)
        assert login is not None
        assert authenticator.viewer(bearer(login.access_token)) == Viewer(name, frozenset(hidden))


@pytest.mark.parametrize(
    ("name", "password"),
    [("alice", "wrong"), ("bob", "wrong"), ("bob", ""), ("carol", ""), ("", ""), ("alice", "\udcff")],
)
def test_a_wrong_name_or_password_gives_no_token(authenticator: Authenticator, name: str, password: str) -> None:
    assert authenticator.log_in(name, password) is None


def test_a_token_expires_and_is_renewed_until_its_refresh_token_expires(
    authenticator: Authenticator, clock: Clock
) -> None:
    login = authenticator.log_in("alice", "open sesame")
    assert login is not None
    clock.now = 1.9
    assert isinstance(authenticator.viewer(bearer(login.access_token)), Viewer)
    clock.now = 2.0
    assert authenticator.viewer(bearer(login.access_token)) is CredentialProblem.INVALID
    renewed = authenticator.refresh(login.refresh_token)
    assert renewed is not None
    assert isinstance(authenticator.viewer(bearer(renewed.access_token)), Viewer)
    clock.now = 10.0
    assert authenticator.refresh(login.refresh_token) is None
    assert authenticator.refresh(renewed.refresh_token) is not None


def test_a_refresh_token_is_not_an_access_token(authenticator: Authenticator) -> None:
    login = authenticator.log_in("alice", "open sesame")
    assert login is not None
    assert authenticator.viewer(bearer(login.refresh_token)) is CredentialProblem.INVALID
    assert authenticator.refresh(login.access_token) is None


def test_logging_out_ends_all_tokens_of_the_session_and_no_others(authenticator: Authenticator) -> None:
    first, other = authenticator.log_in("alice", "open sesame"), authenticator.log_in("alice", "open sesame")
    assert first is not None
    assert other is not None
    renewed = authenticator.refresh(first.refresh_token)
    assert renewed is not None
    assert authenticator.log_out(bearer(renewed.access_token))
    assert authenticator.viewer(bearer(first.access_token)) is CredentialProblem.INVALID
    assert authenticator.refresh(first.refresh_token) is None
    assert isinstance(authenticator.viewer(bearer(other.access_token)), Viewer)
    assert not authenticator.log_out(bearer(first.access_token))


@pytest.mark.parametrize(
    ("header", "who"),
    [
        (None, CredentialProblem.MISSING),
        ("", CredentialProblem.INVALID),
        ("Bearer", CredentialProblem.INVALID),
        ("Bearer ", CredentialProblem.INVALID),
        ("Basic YWxpY2U6", CredentialProblem.INVALID),
        ("Bearer \udcff", CredentialProblem.INVALID),
    ],
)
def test_says_what_is_wrong_with_a_header(
    authenticator: Authenticator, header: str | None, who: CredentialProblem
) -> None:
    assert authenticator.viewer(header) is who


def test_the_token_undefined_is_the_guest(authenticator: Authenticator) -> None:
    assert authenticator.viewer("Bearer undefined") == authenticator.guest


def test_tokens_are_bounded_and_the_oldest_expire_first() -> None:
    authenticator = Authenticator(max_tokens=3)
    logins = [authenticator.log_in(GUEST, "") for _ in range(5)]
    alive = [
        login is not None and isinstance(authenticator.viewer(bearer(login.access_token)), Viewer) for login in logins
    ]
    assert alive == [False, False, True, True, True]


def test_no_account_ends_the_session_of_another() -> None:
    users = {name: User(name, name) for name in ("alice", "bob")}
    authenticator = Authenticator(AccessRules(users=users), max_tokens=3)
    alice = authenticator.log_in("alice", "alice")
    bob = authenticator.log_in("bob", "bob")
    assert alice is not None
    for _ in range(5):
        assert authenticator.log_in(GUEST, "") is not None
        assert bob is not None
        bob = authenticator.refresh(bob.refresh_token)
    assert authenticator.viewer(bearer(alice.access_token)) == Viewer("alice")


def test_without_keys_every_key_is_valid() -> None:
    assert Authenticator().is_key(None)
    authenticator = Authenticator(AccessRules(keys=read_keys("# ours\none\n\n two \n", source="keys")))
    assert [authenticator.is_key(key) for key in ("one", "two", "# ours", "", None, "One")] == [True, True] + [
        False
    ] * 4


def test_no_representation_of_tokens_shows_a_secret() -> None:
    tokens = Authenticator(AccessRules(users={"a": User("a", "hunter2")})).log_in("a", "hunter2")
    assert tokens is not None
    assert not any(secret in repr(tokens) for secret in ("hunter2", tokens.access_token, tokens.refresh_token))
