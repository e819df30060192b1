"""Build the connection to an archive from command-line options, the environment and prompts."""

import os
import re
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from bulkdl.cli.options import ArchiveOptions
from bulkdl.errors import ConfigurationError, JournalError
from bulkdl.model.access import CLIENTS, Access, ArchiveChoice, Credentials
from bulkdl.verbs.connections.reach import ArchiveTerms, archive_terms, is_guest, reach, read_text
from bulkdl.verbs.mirrors.folders import archive_of

# The credential file of the NBIA Data Retriever: userName=… and passWord=…, each on a line.
_PASSWORD_OF_RETRIEVER: Final = re.compile(r"(?im)\Auser_?name=.*\r?\npass_?word=([^\r\n]*)")
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def choose_archive(options: ArchiveOptions) -> ArchiveChoice:
    """The archive that the options name. Raises ConfigurationError: a name, the proxy or a credential is wrong."""
    return _choice(options, options.name, archive_terms(options.name, options.profiles))


def choose_archive_of(mirror: Path, options: ArchiveOptions) -> ArchiveChoice | None:
    """The archive that the command line names, or that of the last run on `mirror`; None where no run was with one."""
    if options.is_chosen:
        return choose_archive(options)
    name, url = archive_of(mirror)
    if name in ("", CLIENTS):
        return None
    try:
        terms = archive_terms(name, options.profiles)
    except ConfigurationError:  # the profile was removed from the configuration: an error only when it is used
        terms = ArchiveTerms(url=url)
    if options.gen3_credentials is not None and terms.takes_gen3_key and not terms.is_named:
        raise ConfigurationError(
            f"only the journal of the mirror names the data commons {name}, so the key is not sent there; if you trust "
            f"it, add --archive {name}"
        )
    return _choice(options, name, terms)


def choose_archive_of_new(mirror: Path, options: ArchiveOptions) -> ArchiveChoice | None:
    """The archive to note in a mirror that may be new: None where the mirror has one, and none is named."""
    with suppress(JournalError):
        if not options.is_chosen and archive_of(mirror)[0]:
            return None
    return reach(options.name, profiles=options.profiles)


def _credentials(options: ArchiveOptions, name: str, terms: ArchiveTerms) -> Credentials:
    """The credentials to send to the archive: only those that it takes."""
    for option, what, is_taken in (
        ("api_key", "API key", terms.takes_key),
        ("username", "login", terms.takes_login),
        ("password_file", "login", terms.takes_login),
    ):
        if option in options.given and not is_taken:
            flag = option.replace("_", "-")
            raise ConfigurationError(f"the archive {name} takes no {what}; leave out --{flag}")
    key = options.api_key if terms.takes_key else None
    if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key and key):
        raise ConfigurationError(
            "the API key contains spaces or non-ASCII characters; correct --api-key or BULKDL_API_KEY"
        )
    if not terms.takes_login:
        return Credentials(api_key=key)
    if "password_file" in options.given and options.username is None:
        raise ConfigurationError("--password-file requires --username")
    if options.username is None:
        return Credentials(api_key=key)
    if key is not None and {"api_key", "username"} <= options.given:
        raise ConfigurationError("give either --api-key or --username: the archive takes one of them")
    if key is not None and "api_key" in options.given:
        return Credentials(api_key=key)
    return Credentials(username=options.username, password=_password(options.username, options.password_file))


def _password(username: str, file: Path | None) -> str:
    if is_guest(username):
        return ""
    if file is not None:
        text = read_text(file, f"the password file {str(file)!r}").rstrip("\r\n")
        written = _PASSWORD_OF_RETRIEVER.search(text)
        return written[1] if written else text
    if (password := os.environ.get("BULKDL_PASSWORD")) is not None:
        return password
    if not sys.stdin.isatty():
        raise ConfigurationError(f"no password for {username}: set BULKDL_PASSWORD or use --password-file")
    prompted: str = click.prompt(f"Password of {username}", hide_input=True, err=True)
    return prompted


def _choice(options: ArchiveOptions, name: str, terms: ArchiveTerms) -> ArchiveChoice:
    proxy = None
    if terms.url:  # the demonstration archive runs in this process, without a proxy
        proxy = _checked(options.proxy) if options.proxy else _proxy_of_environment(terms.url)
    access = Access(proxy=proxy, ca_bundle=options.ca_bundle, credentials=_credentials(options, name, terms))
    choice = reach(name, profiles=options.profiles, idc_index=options.idc_index, route=options.route)
    choice = replace(choice, gen3_credentials=options.gen3_credentials)
    return replace(choice, access=access)


def _proxy_of_environment(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY give for `url`; none for this machine itself."""
    parts = urlsplit(url)
    if not parts.hostname or parts.hostname in _THIS_MACHINE:
        return None
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    import urllib.request  # noqa: PLC0415 - late: it takes 10 ms, and most users have no proxy

    proxies = urllib.request.getproxies_environment()
    host = parts.hostname.rstrip(".")
    place = f"[{host}]" if ":" in host else host
    place = f"{place}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    if urllib.request.proxy_bypass_environment(place, proxies):  # type: ignore[attr-defined, unused-ignore]
        return None
    if _is_in_a_network(host, proxies.get("no", "")):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return _checked(proxy) if proxy else None


def _is_in_a_network(host: str, exempt: str) -> bool:
    """Whether a host is an address of one of the networks in NO_PROXY, such as 10.0.0.0/8."""
    import ipaddress  # noqa: PLC0415 - late, as above

    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        for word in exempt.split(","):
            with suppress(ValueError):
                if address in ipaddress.ip_network(word.strip().strip("[]"), strict=False):
                    return True
    return False


def _checked(proxy: str) -> str:
    """The address of a proxy as a URL. It may contain a password, so no message shows it."""
    address = proxy.strip() if "://" in proxy else f"http://{proxy.strip()}"
    with suppress(ValueError):  # the host is not an address, or the port not a number
        parts = urlsplit(address)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return address
    raise ConfigurationError("the proxy is not an http:// or https:// address; correct --proxy or HTTPS_PROXY")
