"""Hosts that are not on the public internet, by their name or address alone. Pure: no name is resolved."""

import ipaddress
from contextlib import suppress
from typing import Final

_LOCAL_NAMES: Final = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa", ".lan")


def is_private(host: str) -> bool:
    """Whether a host is one of this machine or of a private network."""
    with suppress(ValueError):
        return not ipaddress.ip_address(host.strip("[]")).is_global
    name = host.casefold().rstrip(".")
    return "." not in name or name.endswith(_LOCAL_NAMES) or _is_number(name)


def is_of_this_machine(host: str) -> bool:
    """Whether a host is this machine, or has a link-local address, as the metadata services of clouds have."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host.strip("[]"))
        address = getattr(address, "ipv4_mapped", None) or address  # which the system connects by IPv4
        return address.is_loopback or address.is_link_local or address.is_unspecified
    name = host.casefold().rstrip(".")
    return name == "localhost" or name.endswith(".localhost") or _is_number(name)


def _is_number(name: str) -> bool:
    """Resolvers read 127.1 and 0x7f.1 as addresses."""
    last = name.rpartition(".")[2]
    return last.removeprefix("0x").isalnum() and last[:1].isdigit()
