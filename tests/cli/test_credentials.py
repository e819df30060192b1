"""Proxies, keys and logins are sent to the archive that they are meant for, and to no other."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bulkdl.cli.credentials import choose_archive, choose_archive_of
from bulkdl.cli.options import ArchiveOptions
from bulkdl.errors import ConfigurationError, JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.model.access import Credentials

ELSEWHERE = "nbia+https://archive.test/nbia-api/services"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BULKDL_PASSWORD", "http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def options(name: str = ELSEWHERE, *, proxy: str | None = None, is_chosen: bool = True) -> ArchiveOptions:
    return ArchiveOptions(name=name, is_chosen=is_chosen, profiles={"lab": ELSEWHERE}, proxy=proxy, ca_bundle=None)


def test_without_proxies_there_is_none() -> None:
    assert choose_archive(options()).access.proxy is None


def test_the_proxy_of_the_archives_scheme_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure.test:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://plain.test:3128")
    assert choose_archive(options()).access.proxy == "http://secure.test:3128"
    assert choose_archive(options("lab")).access.proxy == "http://secure.test:3128"
    plain = choose_archive(options("nbia+http://archive.test/x"))
    assert plain.access.proxy == "http://plain.test:3128"


@pytest.mark.parametrize("exempt", ["archive.test", ".test", "other.test, archive.test", "*"])
def test_no_proxy_exempts(monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure.test:3128")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert choose_archive(options()).access.proxy is None


@pytest.mark.parametrize(
    ("address", "exempt", "is_exempt"),
    [
        ("https://10.1.2.3/x", "10.0.0.0/8", True),
        ("https://10.1.2.3:8443/x", "192.168.0.0/16, 10.1.0.0/16", True),
        ("https://11.1.2.3/x", "10.0.0.0/8", False),
        ("https://[fd00::5]/x", "fd00::/8", True),
        ("https://[fd00::5]/x", "fd00::5", True),
        ("https://[fd00::5]:8443/x", "[fd00::5]", True),
        ("https://[fd00::5]:8443/x", "[fd00::5]:8443", True),
        ("https://archive.test/x", "archive.test:443", True),
        ("https://archive.test:8443/x", "archive.test:443", False),
        ("https://archive.test./x", "archive.test", True),
        ("https://archive.test/x", "10.0.0.0/8, other, ,/", False),
    ],
)
def test_networks_and_ports_are_understood(
    monkeypatch: pytest.MonkeyPatch, address: str, exempt: str, *, is_exempt: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure.test:3128")
    monkeypatch.setenv("NO_PROXY", exempt)
    found = choose_archive(options(f"nbia+{address}")).access.proxy
    assert found == (None if is_exempt else "http://secure.test:3128")


@pytest.mark.parametrize("name", ["demo", "nbia+https://127.0.0.1:8080/x", "nbia+https://localhost/x"])
def test_this_machine_is_reached_without_the_environments_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure.test:3128")
    assert choose_archive(options(name)).access.proxy is None


def test_the_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    assert choose_archive(options(proxy="proxy.test:3128")).access.proxy == "http://proxy.test:3128"


@pytest.mark.parametrize(
    "proxy", ["socks5://{}proxy.test", "http://{}proxy.test:99999", "http://{}proxy.test:x", "http://{}[::1", "{}", " "]
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(proxy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose_archive(options(proxy=proxy.format("me:secret@")))
    assert "secret" not in str(caught.value)


def test_an_unknown_profile_is_an_error_before_anything_is_done() -> None:
    with pytest.raises(ConfigurationError, match="did you mean tcia"):
        choose_archive(options("tcai"))


def test_a_folder_that_is_not_a_mirror_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="is not a mirror"):
        choose_archive_of(tmp_path, options(is_chosen=False))


def test_an_archive_that_is_chosen_outright_goes_before_the_mirrors_own(tmp_path: Path) -> None:
    chosen = choose_archive_of(tmp_path, options("demo"))
    assert chosen is not None
    assert chosen.name == "demo"


# --- keys and logins --------------------------------------------------------------------------------------------------

V1, V2, V3 = "nbia-v1+https://archive.test/x", "nbia-v2+https://archive.test/x", "tcia-v3+https://archive.test/x"


@pytest.mark.parametrize(
    ("archive", "option"),
    [
        (V1, "api_key"),
        (V1, "username"),
        (V1, "password_file"),
        (V2, "api_key"),
        (V3, "username"),
        ("demo", "api_key"),
        ("demo", "username"),
    ],
)
def test_what_an_archive_has_no_use_for_is_refused_and_not_shown(archive: str, option: str, tmp_path: Path) -> None:
    """If it were ignored, the caller would expect that restricted data was searched."""
    value = tmp_path / "s3cret" if option == "password_file" else "s3cret"
    changed: dict[str, Any] = {option: value}
    given = replace(options(archive), given=frozenset({option}), **changed)
    with pytest.raises(ConfigurationError, match=f"takes no .*--{option.replace('_', '-')}$") as caught:
        choose_archive(given)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("archive", [V1, "demo"])
def test_what_the_environment_holds_for_other_archives_is_left_unused(archive: str) -> None:
    found = choose_archive(replace(options(archive), api_key="k", username="me"))
    assert found.access.credentials == Credentials()


def test_the_key_goes_to_an_archive_that_takes_one() -> None:
    assert choose_archive(replace(options(V3), api_key="k")).access.credentials == Credentials(api_key="k")


LOGIN = Credentials(username="me", password="p")  # noqa: S106 - made up
WEB = "dicomweb+https://archive.test/dicom-web"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("api_key",), Credentials(api_key="k")),
        (("username",), LOGIN),
        ((), LOGIN),
    ],
    ids=["the key alone is an option", "the login alone is", "none is"],
)
def test_of_a_key_and_a_login_an_archive_gets_the_one_that_is_an_option(
    given: tuple[str, ...], expected: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKDL_PASSWORD", "p")
    both = replace(options(WEB), api_key="k", username="me", given=frozenset(given))
    assert choose_archive(both).access.credentials == expected
    assert choose_archive(replace(options(WEB), api_key="k")).access.credentials == Credentials(api_key="k")


def test_a_key_and_a_login_together_are_refused() -> None:
    both = replace(options(WEB), api_key="k", username="me", given=frozenset({"api_key", "username"}))
    with pytest.raises(ConfigurationError, match="either --api-key or --username"):
        choose_archive(both)


@pytest.mark.parametrize("key", ["", "a\nb", " k", "\u2026"])
def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError, match="contains spaces or non-ASCII"):
        choose_archive(replace(options(V3), api_key=key))


def test_the_password_comes_from_its_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKDL_PASSWORD", "of the environment")
    file = tmp_path / "password"
    file.write_text("pass word \n")
    me = replace(options(V2), username="me")
    assert choose_archive(me).access.credentials.password == "of the environment"  # noqa: S105 - made up
    assert choose_archive(replace(me, password_file=file)).access.credentials.password == "pass word "  # noqa: S105 - made up


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", ["pässword\r\n", "userName=me\r\npassWord=pässword\r\n"], ids=["plain", "Retriever's"])
def test_a_password_file_may_come_from_windows(text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(text.encode(encoding))
    me = replace(options(V2), username="me", password_file=tmp_path / "password")
    assert choose_archive(me).access.credentials.password == "pässword"  # noqa: S105 - made up


def test_a_password_file_that_is_not_there_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        choose_archive(replace(options(V2), username="me", password_file=tmp_path / "none"))


def test_a_login_without_a_password_is_refused_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(ConfigurationError, match="BULKDL_PASSWORD"):
        choose_archive(replace(options(V2), username="me"))


def test_the_guest_needs_no_password() -> None:
    assert choose_archive(replace(options(V2), username="nbia_guest")).access.credentials.username == "nbia_guest"


def test_a_password_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--username"):
        choose_archive(replace(options(V2), password_file=tmp_path, given=frozenset({"password_file"})))


def test_a_mirror_uses_the_login_of_its_archive(tmp_path: Path) -> None:
    """`resume` names no archive; the journal has it, and so whether it takes a login."""
    (tmp_path / ".bulkdl").mkdir()
    with Journal.create_or_open(tmp_path / ".bulkdl" / "journal.sqlite") as journal:
        journal.begin_run(
            verb="mirror",
            archive_name=V1,
            archive_url="https://archive.test/x/",
            selection=None,
            settings={},
            now=datetime(2026, 1, 1, tzinfo=UTC),
        )
    me = replace(options(is_chosen=False), username="me", given=frozenset({"username"}))
    with pytest.raises(ConfigurationError, match="takes no login"):
        choose_archive_of(tmp_path, me)
