"""A proxy is used for the archive that it is meant for, and for no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.cli.options import ArchiveOptions
from bulkdl.cli.reach import choose_archive, choose_archive_of
from bulkdl.errors import ConfigurationError, JournalUnreadable

ELSEWHERE = "nbia+https://archive.test/nbia-api/services"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
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


@pytest.mark.parametrize("name", ["demo", "nbia+https://127.0.0.1:8080/x", "nbia+https://localhost/x"])
def test_this_machine_is_reached_without_the_environments_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure.test:3128")
    assert choose_archive(options(name)).access.proxy is None


def test_the_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    assert choose_archive(options(proxy="proxy.test:3128")).access.proxy == "http://proxy.test:3128"


def test_a_proxy_that_cannot_be_used_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose_archive(options(proxy="socks5://me:secret@proxy.test"))
    assert "secret" not in str(caught.value)


def test_an_unknown_profile_is_told_before_anything_is_done() -> None:
    with pytest.raises(ConfigurationError, match="did you mean tcia"):
        choose_archive(options("tcai"))


def test_a_folder_that_is_no_mirror_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="is no mirror"):
        choose_archive_of(tmp_path, options(is_chosen=False))


def test_an_archive_that_is_chosen_outright_goes_before_the_mirrors_own(tmp_path: Path) -> None:
    assert choose_archive_of(tmp_path, options("demo")).name == "demo"
