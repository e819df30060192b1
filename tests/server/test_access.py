"""Keys, users, passwords and tokens, on a clock that is moved by hand."""

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
    hash_password,
    read_keys,
    read_users,
)

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


def test_a_user_is_not_shown_what_is_another_s(authenticator: Authenticator) -> None:
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


def test_a_token_expires_and_is_renewed_until_that_ends_too(authenticator: Authenticator, clock: Clock) -> None:
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


def test_a_refresh_token_is_no_access_token(authenticator: Authenticator) -> None:
    login = authenticator.log_in("alice", "open sesame")
    assert login is not None
    assert authenticator.viewer(bearer(login.refresh_token)) is CredentialProblem.INVALID
    assert authenticator.refresh(login.access_token) is None


def test_logging_out_ends_every_token_of_the_session_and_no_other(authenticator: Authenticator) -> None:
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
def test_what_is_no_token(authenticator: Authenticator, header: str | None, who: CredentialProblem) -> None:
    assert authenticator.viewer(header) is who


def test_a_token_that_is_undefined_is_the_guest_s(authenticator: Authenticator) -> None:
    assert authenticator.viewer("Bearer undefined") == authenticator.guest


def test_tokens_are_bounded_and_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkdl.server.access._MOST_TOKENS", 3)
    authenticator = Authenticator()
    logins = [authenticator.log_in(GUEST, "") for _ in range(5)]
    alive = [
        login is not None and isinstance(authenticator.viewer(bearer(login.access_token)), Viewer) for login in logins
    ]
    assert alive == [False, False, True, True, True]


def test_without_keys_everybody_has_one() -> None:
    assert Authenticator().is_key(None)
    authenticator = Authenticator(AccessRules(keys=read_keys("# ours\none\n\n two \n", source="keys")))
    assert [authenticator.is_key(key) for key in ("one", "two", "# ours", "", None, "One")] == [True, True] + [
        False
    ] * 4


def test_a_file_without_keys_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="keys holds no API key"):
        read_keys("# none\n\n", source="keys")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[users.a", "no TOML"),
        ("[users.a]\npassword = 'p'\ncolections = []", "'colections', which means nothing"),
        ("[users.a]\ncollections = []", "has no password"),
        ("[users.a]\npassword = 'p'\ncollections = ['X']", "not a restricted Collection: X"),
        ("[users.a]\npassword = 'scrypt$1$2'", "begins like a hash of scrypt and is none"),
        ("[restricted]\ncollections = 'X'", "no list of names"),
        ("restricted = ['X']", "restricted is no table"),
        ("users = 3", "users is no table"),
        ("users.a = 'hunter2'", r"\[users.a\] is no table"),
        ("token_seconds = 0", "no number of seconds"),
        ("token_seconds = true", "no number of seconds"),
        ("tokens = 0", "'tokens', which means nothing"),
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
    login = Authenticator(AccessRules(users={"a": User("a", "hunter2")})).log_in("a", "hunter2")
    shown = repr(
        [login, User("a", "hunter2"), AccessRules(keys=frozenset({"hunter2"}), users={"a": User("a", "hunter2")})]
    )
    assert login is not None
    assert "hunter2" not in shown
    assert login.access_token not in shown
    assert login.refresh_token not in shown


def test_a_hash_does_not_tell_the_password_and_differs_each_time() -> None:
    first, second = hash_password("let me in"), hash_password("let me in")
    assert first != second
    assert "let me in" not in first
