"""The names of licences: that of Creative Commons, which its address states, or the one that an archive gives."""

import re
from typing import Final

_CREATIVE_COMMONS: Final = re.compile(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)", re.IGNORECASE)


def short_license(name: str | None, address: str | None) -> str | None:
    """The short name of a licence of Creative Commons, such as `CC BY 4.0`; the whole name of others."""
    found = _CREATIVE_COMMONS.search(address or "")
    return name if found is None else f"CC {found[1].upper()} {found[2]}"
