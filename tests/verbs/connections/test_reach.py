"""An archive is named, or described with what its connection needs; its terms are known without a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.errors import ConfigurationError
from bulkdl.model.access import DEFAULT_ARCHIVE, Credentials
from bulkdl.verbs.connections.reach import ArchiveTerms, archive_terms, choose_archive, is_guest, reach


def test_settings_of_a_connection_become_one_value(tmp_path: Path) -> None:
    choice = reach(
        "lab", api_key="k", proxy="http://proxy.test", ca_bundle=tmp_path / "ca.pem", profiles={"lab": "x"}, cache="c"
    )
    assert (choice.name, choice.profiles, choice.cache) == ("lab", {"lab": "x"}, Path("c"))
    assert choice.access.credentials == Credentials(api_key="k")
    assert (choice.access.proxy, choice.access.ca_bundle) == ("http://proxy.test", str(tmp_path / "ca.pem"))


def test_a_verb_takes_a_name_a_choice_or_its_default() -> None:
    choice = reach("nlst")
    assert choose_archive(choice) is choice
    assert choose_archive("nlst").name == "nlst"
    assert choose_archive(None).name == DEFAULT_ARCHIVE
    assert choose_archive(None, "of the last run").name == "of the last run"


@pytest.mark.parametrize(
    ("name", "takes_key", "takes_login"),
    [("tcia-v3+http://archive.test/x", True, False), ("nbia-v2+http://archive.test/x", False, True)],
)
def test_an_archive_accepts_a_key_or_a_login(name: str, *, takes_key: bool, takes_login: bool) -> None:
    terms = archive_terms(name, {})
    assert terms.url.startswith("http://archive.test/")
    assert (terms.takes_key, terms.takes_login) == (takes_key, takes_login)


def test_the_demonstration_archive_has_no_address_and_takes_no_login() -> None:
    assert archive_terms("demo", {}) == ArchiveTerms(url="")


def test_an_unknown_profile_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="did you mean tcia"):
        archive_terms("tcai", {})


def test_the_shared_guest_account_is_known() -> None:
    assert is_guest("nbia_guest")
    assert not is_guest("me")
