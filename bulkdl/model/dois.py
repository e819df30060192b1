"""The DOIs in texts and addresses, in lower case, because DOIs are compared so (ISO 26324)."""

import re
from typing import Final

_DOI: Final = re.compile(r"10\.\d{4,9}/[^\s\"<>]+")
_ADDRESS: Final = re.compile(r"https?://(?:dx\.)?doi\.org/(10\.\d{4,9}/\S+)", re.IGNORECASE)


def doi_in(text: str | None) -> str | None:
    """The first DOI in a text or an address; None if there is none."""
    found = _DOI.search(text or "")
    return found[0].rstrip(".,;)").lower() if found else None


def doi_of_address(address: str | None) -> str | None:
    """The DOI that an address of doi.org stands for; None for another address."""
    found = _ADDRESS.fullmatch(address or "")
    return found[1].lower() if found else None
