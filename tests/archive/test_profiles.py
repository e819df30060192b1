"""Names and addresses of archives: which are valid, which are refused, and what is never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bulkdl.archive.nbia.dialects import DIALECTS
from bulkdl.archive.profiles import BUILT_IN, find_profile
from bulkdl.errors import ConfigurationError

TCIA = "https://nbia.cancerimagingarchive.net/nbia-api/services/"


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_name_is_an_archive(name: str) -> None:
    profile = find_profile(name)
    assert profile.name == name
    assert profile.url.startswith("https://")
    assert profile.kind in {*DIALECTS, "idc", "idc-gcs", "routed", "drs", "pathdb"}


@pytest.mark.parametrize(
    ("address", "url", "kind"),
    [
        (TCIA, TCIA, "nbia"),
        (TCIA.rstrip("/"), TCIA, "nbia"),
        (f"{TCIA}v1", TCIA, "nbia-v1"),
        (f"{TCIA}v1/", TCIA, "nbia-v1"),
        ("nbia-v1+http://localhost:8080", "http://localhost:8080/", "nbia-v1"),
        ("nbia-v1+http://host/a+b/", "http://host/a+b/", "nbia-v1"),
        ("http://[::1]:8080/nbia-api/services", "http://[::1]:8080/nbia-api/services/", "nbia"),
        (f"{TCIA}?x=1#y", TCIA, "nbia"),
        (f"{TCIA}v2", TCIA, "nbia-v2"),
        (f"{TCIA}v4", TCIA, "nbia-v4"),
        (f"nbia-v2+{TCIA}v4", TCIA, "nbia-v2"),
        ("http://host/services/v3/TCIA", "http://host/services/v3/", "tcia-v3"),
        ("http://host/services/v3/TCIA/query/", "http://host/services/v3/", "tcia-v3"),
        ("http://host/services/v4/TCIA", "http://host/services/v4/", "tcia-v3"),
        ("tcia-v3+http://host/services/v3/TCIA", "http://host/services/v3/", "tcia-v3"),
        ("tcia-v3+http://host/a", "http://host/a/", "tcia-v3"),
        ("idc+http://localhost:8080", "http://localhost:8080/", "idc"),
        ("idc-gcs+https://host", "https://host/", "idc-gcs"),
        ("dicomweb+https://host/dcm4chee-arc/aets/A/rs/?token=x", "https://host/dcm4chee-arc/aets/A/rs/", "dicomweb"),
    ],
)
def test_the_kind_follows_from_the_address(address: str, url: str, kind: str) -> None:
    profile = find_profile(address)
    assert (profile.url, profile.kind) == (url, kind)


@pytest.mark.parametrize("address", ["tcia-v3+http://host/a", f"nbia-v2+{TCIA}v4", f"{TCIA}v2", f"{TCIA}?x=1"])
def test_an_archive_is_found_again_by_its_name(address: str) -> None:
    """A run is journalled with the name, and `resume` has nothing else."""
    profile = find_profile(address)
    assert find_profile(profile.name) == profile
    assert "?" not in profile.name


def test_the_user_s_own_names_are_known_too() -> None:
    profile = find_profile("lab", {"lab": "http://lab:8080/nbia-api/services"})
    assert (profile.name, profile.url) == ("lab", "http://lab:8080/nbia-api/services/")


def test_a_user_may_send_a_built_in_name_elsewhere() -> None:
    assert find_profile("tcia", {"tcia": "http://lab/nbia-api/services"}).url == "http://lab/nbia-api/services/"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tica", "did you mean tcia"),
        ("nothing-like-it", "known: crdc, demo, demo-idc, demo-pathdb, idc, idc-gcs, nbia, nbia-v1, nbia-v2, nlst, "),
        ("https://example.org/", "its path matches no kind of archive"),
        ("fhir+https://example.org/", "'fhir' is not a kind of archive"),
        ("ftp://example.org/nbia-api/services", "not an http or https address"),
        ("https:///nbia-api/services", "not an http or https address"),
        ("https://[::1/nbia-api/services", "not an http or https address"),
        ("https://host:99999/nbia-api/services", "not an http or https address"),
        ("https://host:port/nbia-api/services", "not an http or https address"),
        ("https://host:0/nbia-api/services", "not an http or https address"),
        ("https://b\u00fccher.example/nbia-api/services", "not an http or https address"),
        ("https://a\\b/nbia-api/services", "not an http or https address"),
        ("https://a..b/nbia-api/services", "not an http or https address"),
        ("https://xn--a/nbia-api/services", "not an http or https address"),
        (f"https://{64 * 'a'}.org/nbia-api/services", "not an http or https address"),
        ("", "no archive profile"),
    ],
)
def test_an_invalid_archive_is_refused_with_a_reason(name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words.replace("?", r"\?")):
        find_profile(name)


@pytest.mark.parametrize(
    "address",
    [
        "https://me:SECRET@host/nbia-api/services",
        "https://SECRET@host/nbia-api/services",
        "ftp://me:SECRET@host/x",
        "https://me:SECRET@[::1/x",
        "https://me:SECRET@host:port/x",
        "https://host/x?api_key=SECRET",
        "ftp://host/x?api_key=SECRET#SECRET",
        "kind+https://host/x?token=SECRET",
    ],
)
def test_a_secret_in_an_address_is_never_shown(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_profile(address)
    assert "SECRET" not in str(caught.value)


@given(st.text() | st.text(".:-[]@\\/a1\u00fc").map(lambda rest: f"http://{rest}/nbia-api/services"))
def test_whatever_is_typed_is_a_profile_or_a_matter_of_configuration(text: str) -> None:
    try:
        profile = find_profile(text)
    except ConfigurationError:
        return
    assert profile.url.endswith("/")
    assert URL(profile.url).host
